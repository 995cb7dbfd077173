package org.transnormer.parallel;

import org.transnormer.tensor.Tensor;

/**
 * Sums over the ranks of the rows that each computes a part of. SPEC section 7.2.
 *
 * <p>Beside the computation, rows are summed in parts, one after the other: while the first are exchanged the others are
 * computed, and while the last are exchanged the first are read. What reads them whole says {@link #await} before.
 *
 * @param most parts that rows are summed in
 */
public record RowSums(Communicator ranks, int most) {
    /** Three and four were slower on two H200: smaller products fill a GPU less well. */
    private static final int PARTS = 2;

    /** Computes rows [from, to). */
    @FunctionalInterface
    public interface Writer {
        /** @param adds whether this rank is the one that adds what is to be added once; by turns, since it takes time */
        void write(long from, long to, boolean adds);
    }

    /** Reads rows [from, to). */
    @FunctionalInterface
    public interface Reader {
        void read(long from, long to);
    }

    /** Sums in one order with the computation. */
    public static RowSums inOrder(Communicator ranks) {
        return new RowSums(ranks, 1);
    }

    /** Sums beside the computation. Every rank calls this. */
    public static RowSums beside(Communicator ranks) {
        return ranks.size() == 1 ? inOrder(ranks) : new RowSums(ranks.beside(), PARTS);
    }

    /** Whether one rank computes the whole, so that its rows are sums as they are. */
    public boolean areWhole() {
        return ranks.size() == 1;
    }

    /** Whether this rank is the one that adds what is to be added once to rows that are summed whole. */
    public boolean isFirst() {
        return ranks.rank() == 0;
    }

    /**
     * Computes rows by parts, and begins each one's sum.
     *
     * @param y what {@code writer} writes
     */
    public void write(Tensor y, Writer writer) {
        long rows = y.dim(0);
        int parts = parts(rows);
        for (int i = 0; i < parts; i++) {
            long from = rows * i / parts;
            long to = rows * (i + 1) / parts;
            writer.write(from, to, i % ranks.size() == ranks.rank());
            begin(part(y, from, to));
        }
    }

    /** Reads rows by parts, each once its sum is there: those that {@link #write} wrote last, or any before. */
    public void read(long rows, Reader reader) {
        int parts = parts(rows);
        for (int i = 0; i < parts; i++) {
            ranks.computeAwaitsCollectives(parts - 1 - i);
            reader.read(rows * i / parts, rows * (i + 1) / parts);
        }
    }

    private int parts(long rows) {
        return (int) Math.min(most, rows);
    }

    /** Begins the sum of rows that are computed. */
    public void begin(Tensor rows) {
        ranks.collectivesAwaitCompute();
        ranks.allReduceSum(rows);
    }

    /**
     * The two gradients of a product of rows: that of its input is summed while the matrix's is computed.
     *
     * @param dinput what {@code input} writes; where one rank computes the whole, it may lie where {@code weight} reads
     */
    public void backward(Tensor dinput, Runnable input, Runnable weight) {
        if (areWhole()) {
            weight.run();
            input.run();
            return;
        }
        input.run();
        begin(dinput);
        weight.run();
        await();
    }

    /** Computation enqueued from now on sees all sums. */
    public void await() {
        ranks.computeAwaitsCollectives();
    }

    /** Rows [from, to) of a tensor, or the tensor if these are all. */
    public static Tensor part(Tensor x, long from, long to) {
        return x == null || to - from == x.dim(0) ? x : x.slice(0, from, to);
    }
}
