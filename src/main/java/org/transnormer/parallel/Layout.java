package org.transnormer.parallel;

/**
 * How the ranks of a job share its work: those of a tensor group split each layer, those of a data group read different
 * rows. SPEC section 7. Rank = (number in its data group) · tensor + (number in its tensor group): a tensor group, which
 * exchanges most, has neighbours.
 *
 * @param data ranks that read different data
 * @param tensor ranks that a layer is split over
 */
public record Layout(int data, int tensor) {

    /** @throws IllegalArgumentException if there are fewer than 1 of either */
    public Layout {
        if (data < 1 || tensor < 1) {
            throw new IllegalArgumentException("a layout has at least 1 x 1 ranks, not %d x %d".formatted(data,
                    tensor));
        }
    }

    /** Ranks altogether. */
    public int size() {
        return Math.multiplyExact(data, tensor);
    }

    /** Number of a rank in its data group. */
    public int dataRank(int rank) {
        return rank / tensor;
    }

    /** Number of a rank in its tensor group. */
    public int tensorRank(int rank) {
        return rank % tensor;
    }

    @Override
    public String toString() {
        return "data %d x tensor %d".formatted(data, tensor);
    }
}
