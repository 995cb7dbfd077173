package org.transnormer.parallel;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.transnormer.tensor.Tensor;

/**
 * Ranks that are processes, their tensors in host memory, what they give each other in bytes: for tests and small
 * machines, without a library. The first rank of the group forms each sum, in double, in the order of the ranks, rounds it
 * once, and gives it to all; pieces of few bytes, one after the other. SPEC section 7.
 */
public final class Relayed implements Communicator {

    /** Combines what the ranks have of one element. */
    @FunctionalInterface
    private interface Reduction {
        double of(double soFar, double next);
    }

    private final Exchange exchange;
    private final int[] group;
    private final int rank;
    private final Runnable begins;

    /**
     * @param exchange between all processes
     * @param group those that share the tensors, this one among them, by their numbers in {@code exchange}
     * @param begins is run when a collective begins
     */
    public Relayed(Exchange exchange, List<Integer> group, Runnable begins) {
        this.exchange = exchange;
        this.group = group.stream().mapToInt(Integer::intValue).toArray();
        this.begins = begins;
        rank = group.indexOf(exchange.rank());
        if (rank < 0) {
            throw new IllegalArgumentException("rank %d is not of the group %s".formatted(exchange.rank(), group));
        }
    }

    @Override
    public int size() {
        return group.length;
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public void allReduceSum(Tensor x) {
        CollectiveArguments.gapless("allReduceSum", x);
        reduce(x, x, Double::sum);
    }

    @Override
    public void allReduceMax(Tensor x) {
        CollectiveArguments.gapless("allReduceMax", x);
        reduce(x, x, Math::max);
    }

    /** result = the reduction over the ranks of x, whose number of elements it has. */
    private void reduce(Tensor x, Tensor result, Reduction reduction) {
        begins.run();
        int piece = Exchange.MOST / x.dtype().bytes();
        Tensor from = flat(x);
        Tensor to = flat(result);
        for (long at = 0; at < from.size(); at += piece) {
            int n = (int) Math.min(piece, from.size() - at);
            if (rank == 0) {
                sum(from, to, at, n, reduction);
                sendToAll(bytes(to, at, n));
            } else {
                exchange.send(group[0], bytes(from, at, n));
                put(exchange.receive(group[0]), to, at, n);
            }
        }
    }

    private void sum(Tensor from, Tensor to, long at, int n, Reduction reduction) {
        double[] sums = new double[n];
        for (int i = 0; i < n; i++) {
            sums[i] = from.get(at + i);
        }
        for (int r = 1; r < size(); r++) {
            ByteBuffer theirs = buffer(exchange.receive(group[r]), n * from.dtype().bytes());
            for (int i = 0; i < n; i++) {
                sums[i] = reduction.of(sums[i], get(theirs, from, i));
            }
        }
        for (int i = 0; i < n; i++) {
            to.set(at + i, sums[i]);
        }
    }
}
