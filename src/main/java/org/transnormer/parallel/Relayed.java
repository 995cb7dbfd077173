package org.transnormer.parallel;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleBinaryOperator;
import org.transnormer.tensor.Tensor;

/**
 * Ranks that are processes, their tensors in host memory, what they give each other in bytes: for tests and small
 * machines, without a library. SPEC section 7.
 *
 * <p>The first rank of the group has the elements of all in pieces, forms sums in double, in the order of the ranks, rounds
 * once, and gives the result to all: the bits of {@link InProcess}.
 */
public final class Relayed implements Communicator {

    private final Exchange exchange;
    private final int[] group;
    private final int rank;
    private final Runnable begins;

    private Relayed(Exchange exchange, int[] group, Runnable begins) {
        this.exchange = exchange;
        this.group = group;
        this.begins = begins;
        rank = Arrays.binarySearch(group, exchange.rank());
    }

    /**
     * The communicator of all processes.
     *
     * @param begins is run when a collective begins
     */
    public static Relayed of(Exchange exchange, Runnable begins) {
        int[] all = new int[exchange.size()];
        Arrays.setAll(all, r -> r);
        return new Relayed(exchange, all, begins);
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
        reduce(x, Double::sum);
    }

    @Override
    public void allReduceMax(Tensor x) {
        CollectiveArguments.gapless("allReduceMax", x);
        reduce(x, Math::max);
    }

    private void reduce(Tensor x, DoubleBinaryOperator reduction) {
        begins.run();
        Tensor all = flat(x);
        for (long at = 0; at < all.size(); at += piece(x)) {
            Tensor part = all.slice(0, at, Math.min(at + piece(x), all.size()));
            if (rank == 0) {
                combine(part, reduction);
            } else {
                exchange.send(group[0], bytes(part));
            }
            fromFirst(part);
        }
    }

    private void combine(Tensor x, DoubleBinaryOperator reduction) {
        double[] results = new double[(int) x.size()];
        Arrays.setAll(results, x::get);
        try (Arena arena = Arena.ofConfined()) {
            Tensor theirs = Tensor.allocate(arena, "theirs", x.dtype(), x.size());
            for (int r = 1; r < size(); r++) {
                put(exchange.receive(group[r]), theirs);
                for (int i = 0; i < results.length; i++) {
                    results[i] = reduction.applyAsDouble(results[i], theirs.get(i));
                }
            }
        }
        for (int i = 0; i < results.length; i++) {
            x.set(i, results[i]);
        }
    }

    /** x of the first rank to all; at most a piece. */
    private void fromFirst(Tensor x) {
        if (rank > 0) {
            put(exchange.receive(group[0]), x);
            return;
        }
        byte[] bytes = bytes(x);
        for (int r = 1; r < size(); r++) {
            exchange.send(group[r], bytes);
        }
    }

    @Override
    public void broadcast(Tensor x, int root) {
        CollectiveArguments.gapless("broadcast", x);
        CollectiveArguments.rank("broadcast", root, size());
        begins.run();
        if (root != 0 && rank == root) {
            give(x, 0);
        } else if (root != 0 && rank == 0) {
            take(x, root);
        }
        Tensor all = flat(x);
        for (long at = 0; at < all.size(); at += piece(x)) {
            fromFirst(all.slice(0, at, Math.min(at + piece(x), all.size())));
        }
    }

    @Override
    public void allGather(Tensor part, Tensor whole) {
        CollectiveArguments.parts("allGather", part, whole, size());
        Tensor own = range(whole, rank);
        if (!CollectiveArguments.same(own, part)) {
            own.copyFrom(part);
        }
        for (int r = 0; r < size(); r++) {
            broadcast(range(whole, r), r);
        }
    }

    /** Every rank has the sum of all for a moment, in its own copy. */
    @Override
    public void reduceScatterSum(Tensor whole, Tensor part) {
        CollectiveArguments.parts("reduceScatterSum", part, whole, size());
        try (Arena arena = Arena.ofConfined()) {
            Tensor sum = Tensor.allocate(arena, "sum", whole.dtype(), whole.shape());
            sum.copyFrom(whole);
            allReduceSum(sum);
            part.copyFrom(range(sum, rank));
        }
    }

    private Tensor range(Tensor whole, int r) {
        long n = whole.dim(0) / size();
        return whole.slice(0, r * n, (r + 1) * n);
    }

    @Override
    public void send(Tensor x, int to) {
        CollectiveArguments.gapless("send", x);
        CollectiveArguments.other("send", to, rank, size());
        begins.run();
        give(x, to);
    }

    @Override
    public void receive(Tensor x, int from) {
        CollectiveArguments.gapless("receive", x);
        CollectiveArguments.other("receive", from, rank, size());
        begins.run();
        take(x, from);
    }

    private void give(Tensor x, int to) {
        Tensor all = flat(x);
        for (long at = 0; at < all.size(); at += piece(x)) {
            exchange.send(group[to], bytes(all.slice(0, at, Math.min(at + piece(x), all.size()))));
        }
    }

    private void take(Tensor x, int from) {
        Tensor all = flat(x);
        for (long at = 0; at < all.size(); at += piece(x)) {
            put(exchange.receive(group[from]), all.slice(0, at, Math.min(at + piece(x), all.size())));
        }
    }

    @Override
    public void skip() {
        begins.run();
    }

    @Override
    public void barrier() {
        begins.run();
        shared(0);
    }

    /** What each rank gives. */
    private int[] shared(int mine) {
        ByteBuffer all = ByteBuffer.allocate(Integer.BYTES * size());
        if (rank > 0) {
            exchange.send(group[0], ByteBuffer.allocate(Integer.BYTES).putInt(mine).array());
            all = ByteBuffer.wrap(exchange.receive(group[0]));
        } else {
            all.putInt(mine);
            for (int r = 1; r < size(); r++) {
                all.put(exchange.receive(group[r]));
            }
            for (int r = 1; r < size(); r++) {
                exchange.send(group[r], all.array());
            }
        }
        int[] values = new int[size()];
        all.rewind().asIntBuffer().get(values);
        return values;
    }

    @Override
    public Relayed split(int number) {
        int[] numbers = shared(number);
        List<Integer> same = new ArrayList<>();
        for (int r = 0; r < size(); r++) {
            if (numbers[r] == number) {
                same.add(group[r]);
            }
        }
        return new Relayed(exchange, same.stream().mapToInt(Integer::intValue).toArray(), begins);
    }

    @Override
    public Relayed beside() {
        return this;
    }

    @Override
    public void collectivesAwaitCompute() {
        // the host computes, and then calls
    }

    @Override
    public void computeAwaitsCollectives(int last) {
        // a call returns when it is done
    }

    private static long piece(Tensor x) {
        return Exchange.MOST / x.dtype().bytes();
    }

    private static Tensor flat(Tensor x) {
        return Tensor.of(x.name(), x.dtype(), x.storage(), x.offset(), x.size());
    }

    private static byte[] bytes(Tensor x) {
        byte[] bytes = new byte[(int) (x.size() * x.dtype().bytes())];
        MemorySegment.copy(x.segment(), ValueLayout.JAVA_BYTE, x.byteOffset(), bytes, 0, bytes.length);
        return bytes;
    }

    private static void put(byte[] bytes, Tensor x) {
        if (bytes.length != x.size() * x.dtype().bytes()) {
            throw new IllegalStateException("%,d bytes came for %s: the ranks do not make the same calls".formatted(
                    bytes.length, x));
        }
        MemorySegment.copy(bytes, 0, x.segment(), ValueLayout.JAVA_BYTE, x.byteOffset(), bytes.length);
    }
}
