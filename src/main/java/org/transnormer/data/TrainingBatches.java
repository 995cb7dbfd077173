package org.transnormer.data;

import org.transnormer.InputException;
import org.transnormer.lightning.Border;
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
 *
 * <p>Of ranks that hold parts of the same rows, part j of P is pairs j T / P … (j + 1) T / P - 1 of each row. Of a sequence
 * that lies on both sides of a border each has its tokens, with their positions in it, and a slot of the {@link Border}.
 */
public final class TrainingBatches implements BatchSource {
    private final TokenDataset data;
    private final Border border;
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
        this(data, Border.none(rows), length, seed, rank, ranks);
    }

    /**
     * The batches of one of several ranks that hold parts of rows.
     *
     * @param border rows of a batch of this rank, and which part of them it holds
     * @param length tokens of a row, T
     * @param rank among those that read different rows, 0 to ranks - 1
     * @throws InputException if the data do not fill one row
     * @throws IllegalArgumentException if a row cannot be cut into equal parts
     */
    public TrainingBatches(TokenDataset data, Border border, long length, long seed, int rank, int ranks) {
        if (rank < 0 || rank >= ranks) {
            throw new IllegalArgumentException("there is no rank %d of %d".formatted(rank, ranks));
        }
        if (length < 1) {
            throw new IllegalArgumentException("a row needs at least 1 token, not " + length);
        }
        if (length % border.parts() != 0) {
            throw new IllegalArgumentException("a row of %,d tokens has no %d equal parts: give a multiple of %d"
                    .formatted(length, border.parts(), border.parts()));
        }
        if (data.pairs() < length) {
            throw new InputException("training data", "%,d tokens do not fill one row of %,d".formatted(data.pairs(),
                    length), "give more text or a smaller sequence length");
        }
        this.data = data;
        this.border = border;
        this.length = length;
        this.seed = seed;
        this.rank = rank;
        this.ranks = ranks;
        rowsPerEpoch = data.pairs() / length;
    }

    @Override
    public long tokens() {
        return border.rows() * part();
    }

    @Override
    public int maxSequences() {
        return Math.toIntExact(border.rows() * Math.min(part(), 2 + part() / data.shortest()));
    }

    @Override
    public int slots() {
        return border.slots();
    }

    /** Tokens of a row that are this rank's. */
    private long part() {
        return length / border.parts();
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
        for (int row = 0; row < border.rows(); row++) {
            fill(row, position + rank + (long) row * ranks, ids, targets, sequences);
        }
        position += (long) border.rows() * ranks;
        return tokens();
    }

    /** @param number of the row since the first epoch began */
    private void fill(int row, long number, Tensor ids, Tensor targets, Sequences sequences) {
        enter(number / rowsPerEpoch);
        long first = border.part() * part();
        long end = first + part();
        long at = row * part() - first;
        long pair = (phase + order.get(number % rowsPerEpoch) * length) % data.pairs();
        int document = data.documentOf(pair);
        long from = pair - data.firstPair(document);
        for (long done = 0; done < end;) {
            long count = Math.min(length - done, data.pairs(document) - from);
            long mine = Math.max(done, first);
            long others = Math.min(done + count, end);
            if (mine < others) {
                data.copy(document, from + mine - done, others - mine, ids, targets, at + mine);
                sequences.add(others - mine, mine - done, border.slot(row, done < first, done + count > end));
            }
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
