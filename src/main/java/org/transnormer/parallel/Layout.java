package org.transnormer.parallel;

/**
 * How the ranks of a job share its work: those of a tensor group split each layer, those of a sequence group hold
 * consecutive parts of the same rows, others read different rows. SPEC section 7. Rank = (number among the readers of
 * rows · sequence + part of the rows) · tensor + (number in its tensor group): a tensor group, which exchanges most, has
 * neighbours, and so have the parts of a row, each of which waits for the one before.
 *
 * @param data ranks that read different rows
 * @param sequence ranks that hold parts of the same rows
 * @param tensor ranks that a layer is split over
 */
public record Layout(int data, int sequence, int tensor) {

    /** @throws IllegalArgumentException if there are fewer than 1 of any */
    public Layout {
        if (data < 1 || sequence < 1 || tensor < 1) {
            throw new IllegalArgumentException("a layout has at least 1 x 1 x 1 ranks, not %d x %d x %d".formatted(data,
                    sequence, tensor));
        }
    }

    /** One in which every rank holds its rows whole. */
    public Layout(int data, int tensor) {
        this(data, 1, tensor);
    }

    /** Ranks altogether. */
    public int size() {
        return Math.multiplyExact(readers(), tensor);
    }

    /** Ranks that read different tokens, other rows or other parts of them, and hold the same part of each layer. */
    public int readers() {
        return Math.multiplyExact(data, sequence);
    }

    /** Number of a rank among its readers. */
    public int readerRank(int rank) {
        return rank / tensor;
    }

    /** Number of a rank among those that read different rows. */
    public int dataRank(int rank) {
        return rank / (sequence * tensor);
    }

    /** Which part of its rows a rank holds. */
    public int sequenceRank(int rank) {
        return rank / tensor % sequence;
    }

    /** Number of a rank in its tensor group. */
    public int tensorRank(int rank) {
        return rank % tensor;
    }

    /**
     * Rows on each rank.
     *
     * @param rows of a micro-batch
     * @throws IllegalArgumentException if they cannot be shared
     */
    public int rows(int rows) {
        if (rows % data != 0) {
            throw new IllegalArgumentException("--batch %d rows cannot be shared by %d ranks: give a multiple of %d"
                    .formatted(rows, data, data));
        }
        return rows / data;
    }

    /**
     * Tokens of a row on each rank.
     *
     * @param length of a row
     * @throws IllegalArgumentException if it cannot be cut so
     */
    public long part(long length) {
        if (length % sequence != 0) {
            throw new IllegalArgumentException(
                    "--sequence %d tokens cannot be cut into equal parts for %d ranks: give a multiple of %d"
                            .formatted(length, sequence, sequence));
        }
        return length / sequence;
    }

    @Override
    public String toString() {
        return "data %d x sequence %d x tensor %d".formatted(data, sequence, tensor);
    }
}
