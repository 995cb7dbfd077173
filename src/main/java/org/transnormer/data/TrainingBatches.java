package org.transnormer.data;

import org.transnormer.InputException;
import org.transnormer.lightning.Sequences;
import org.transnormer.random.Permutation;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.tensor.Tensor;

/**
 * Endless training batches: rows of T pairs, shuffled anew in every epoch. SPEC section 6.4.
 *
 * <pre>
 * N pairs in document order, closed to a ring;  R = ⌊N / T⌋ rows an epoch
 * epoch e:   phase φ uniform in [0, N),  order π a permutation of [0, R),  both functions of (seed, e) alone
 * row g = e R + i holds the pairs  φ + π(i) T … φ + π(i) T + T - 1  (mod N)
 * </pre>
 *
 * A row is one sequence for each document it meets, each from position 0 with a zero state and no slot, whether it
 * starts at the beginning of the document or where a row was cut. No pair comes twice in an epoch; fewer than T are
 * left out, others in every epoch. The whole position is the number of rows taken: a loader set to it goes on with
 * exactly the batches that would have come. So batches may have any number of rows.
 *
 * <p>Of several ranks that read different data, N with B rows each take the rows of one that has N B: rank r the rows
 * r, r + N, … of them. The position is that of all together, so a run goes on with any number of ranks.
 */
public final class TrainingBatches implements BatchSource {
    private final TokenDataset data;
    private final int rows;
    private final long length;
    private final long seed;
    private final int rank;
    private final int ranks;
    private final long rowsPerEpoch;
    private long position;
    private long epoch = -1;
    private long phase;
    private Permutation order;

    /**
     * @param rows rows of a batch
     * @param length tokens of a row, T
     * @throws InputException if the data do not fill one row
     */
    public TrainingBatches(TokenDataset data, int rows, long length, long seed) {
        this(data, rows, length, seed, 0, 1);
    }

    /**
     * The batches of one of several ranks.
     *
     * @param rows rows of a batch of this rank
     * @param length tokens of a row, T
     * @param rank 0 to ranks - 1
     * @throws InputException if the data do not fill one row
     */
    public TrainingBatches(TokenDataset data, int rows, long length, long seed, int rank, int ranks) {
        if (rank < 0 || rank >= ranks) {
            throw new IllegalArgumentException("there is no rank %d of %d".formatted(rank, ranks));
        }
        if (rows < 1 || length < 1) {
            throw new IllegalArgumentException("need at least 1 row of 1 token, not %d of %d".formatted(rows, length));
        }
        if (data.pairs() < length) {
            throw new InputException("training data", "%,d tokens do not fill one row of %,d".formatted(data.pairs(),
                    length), "give more text or a smaller sequence length");
        }
        this.data = data;
        this.rows = rows;
        this.length = length;
        this.seed = seed;
        this.rank = rank;
        this.ranks = ranks;
        rowsPerEpoch = data.pairs() / length;
    }

    @Override
    public long tokens() {
        return rows * length;
    }

    @Override
    public int maxSequences() {
        return Math.toIntExact(rows * Math.min(length, 2 + length / data.shortest()));
    }

    @Override
    public int slots() {
        return 0;
    }

    /** Rows taken by all ranks since the first epoch began. */
    public long position() {
        return position;
    }

    /** Goes to a position that {@link #position} gave, forwards or backwards. */
    public void seek(long newPosition) {
        if (newPosition < 0) {
            throw new IllegalArgumentException("a position is 0 or more, not " + newPosition);
        }
        position = newPosition;
    }

    /** Epochs taken, as a fraction. */
    public double epochs() {
        return (double) position / rowsPerEpoch;
    }

    @Override
    public long next(Tensor ids, Tensor targets, Sequences sequences) {
        Batches.check(this, ids, targets);
        sequences.clear();
        for (int row = 0; row < rows; row++) {
            fill(position + rank + (long) row * ranks, row * length, ids, targets, sequences);
        }
        position += (long) rows * ranks;
        return tokens();
    }

    private void fill(long row, long at, Tensor ids, Tensor targets, Sequences sequences) {
        enter(row / rowsPerEpoch);
        long pair = (phase + order.get(row % rowsPerEpoch) * length) % data.pairs();
        int document = data.documentOf(pair);
        long from = pair - data.firstPair(document);
        for (long done = 0; done < length;) {
            long count = Math.min(length - done, data.pairs(document) - from);
            data.copy(document, from, count, ids, targets, at + done);
            sequences.add(count, 0, Sequences.NO_SLOT);
            done += count;
            document = document + 1 == data.documents() ? 0 : document + 1;
            from = 0;
        }
    }

    private void enter(long newEpoch) {
        if (newEpoch != epoch) {
            RandomStream random = new RandomStream(seed, Purpose.SHUFFLE, "epoch " + newEpoch);
            phase = random.below(0, data.pairs());
            order = random.permutation(rowsPerEpoch);
            epoch = newEpoch;
        }
    }
}
