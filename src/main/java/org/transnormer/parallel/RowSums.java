package org.transnormer.parallel;

import org.transnormer.tensor.Tensor;

/**
 * Sums over the ranks of the rows that each computes a part of. SPEC section 7.2.
 *
 * <p>Beside the computation, rows are summed in two halves: one is exchanged while the other is computed, and the first
 * is read while the second is exchanged. What reads them whole says {@link #await} before.
 *
 * @param parts that rows are summed in
 */
public record RowSums(Communicator ranks, int parts) {

    /** Computes or reads rows [from, to). */
    @FunctionalInterface
    public interface Rows {
        void of(long from, long to);
    }

    /** Sums in one order with the computation. */
    public static RowSums inOrder(Communicator ranks) {
        return new RowSums(ranks, 1);
    }

    /** Sums beside the computation. Every rank calls this. */
    public static RowSums beside(Communicator ranks) {
        return ranks.size() == 1 ? inOrder(ranks) : new RowSums(ranks.beside(), 2);
    }

    /** Whether one rank computes the whole, so that its rows are sums as they are. */
    public boolean areWhole() {
        return ranks.size() == 1;
    }

    /** Whether this rank is the one that adds what is to be added once. */
    public boolean isFirst() {
        return ranks.rank() == 0;
    }

    /**
     * Computes rows by parts, and begins each one's sum.
     *
     * @param y what {@code compute} writes
     */
    public void write(Tensor y, Rows compute) {
        long rows = y.dim(0);
        for (int i = 0; i < parts; i++) {
            long from = rows * i / parts;
            long to = rows * (i + 1) / parts;
            if (to > from) {
                compute.of(from, to);
                begin(part(y, from, to));
            }
        }
    }

    /** Reads rows by parts, each once its sum is there: those that {@link #write} wrote last, or any others. */
    public void read(long rows, Rows reader) {
        for (int i = 0; i < parts; i++) {
            long from = rows * i / parts;
            long to = rows * (i + 1) / parts;
            if (i == parts - 1) {
                await();
            }
            if (to > from) {
                reader.of(from, to);
            }
        }
    }

    /** Begins the sum of rows that are computed; those that began before are there when it does. */
    public void begin(Tensor rows) {
        ranks.computeAwaitsCollectives();
        ranks.collectivesAwaitCompute();
        ranks.allReduceSum(rows);
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
