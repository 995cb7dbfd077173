package org.transnormer.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.transnormer.linear.Linear;
import org.transnormer.linear.LinearVector;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * Rates of the vector twin's products, and of a peer's in the same run. Rounds of one and of the other alternate, with
 * a pause between them, so that no pool of threads is still awake while the other one is timed.
 */
public final class GemmBench {
    /** Spent on each spell of the warm-up. */
    private static final double WARM_UP_SECONDS = 0.5;
    private static final long PAUSE_MILLIS = 50;

    private GemmBench() {}

    /**
     * What one shape reached.
     *
     * @param weights type of w in the twin; the peer's is F32
     * @param gflops median rate of the vector twin over the rounds
     * @param best its best round
     * @param peerGflops median rate of the peer, NaN without one
     * @param peerBest its best round
     */
    public record Result(GemmShape shape, DType weights, double gflops, double best, double peerGflops,
            double peerBest) {

        /** The twin's share of the peer's rate, by medians. */
        public double ratio() {
            return gflops / peerGflops;
        }

        /** Bytes of w per second in GB/s: what bounds a call with few tokens. */
        public double weightRate() {
            return gflops / (2.0 * shape.tokens()) * weights.bytes();
        }
    }

    /**
     * Measures the shapes one after another.
     *
     * @param weights type of w: F32 or BF16
     * @param rounds how often each is measured, at least 1
     * @param peer null: none
     */
    public static List<Result> run(List<GemmShape> shapes, DType weights, int threads, int rounds, GemmPeer peer) {
        List<Result> results = new ArrayList<>();
        for (GemmShape shape : shapes) {
            try (HostMemory memory = new HostMemory(); Workers workers = new Workers(threads)) {
                results.add(run(shape, weights, new LinearVector(workers, new Workspace(memory)), memory, threads,
                        rounds, peer));
            }
        }
        return results;
    }

    private static Result run(GemmShape shape, DType weights, Linear linear, HostMemory memory, int threads,
            int rounds, GemmPeer peer) {
        Tensor x = random(memory, "x", DType.F32, shape.tokens(), shape.in());
        Tensor y = random(memory, "y", DType.F32, shape.tokens(), shape.out());
        Tensor w = random(memory, "w", weights, shape.out(), shape.in());
        Tensor dw = random(memory, "dw", DType.F32, shape.out(), shape.in());
        Runnable twin = switch (shape.direction()) {
            case FORWARD -> () -> linear.forward(x, w, null, null, y);
            case BACKWARD_INPUT -> () -> linear.backwardInput(y, w, x, false);
            case BACKWARD_WEIGHT -> () -> linear.backwardWeight(x, y, dw, null, false);
        };
        double[] own = new double[rounds];
        double[] others = new double[rounds];
        Arrays.fill(others, Double.NaN);
        Timing.of(WARM_UP_SECONDS, twin);
        for (int i = 0; i < rounds; i++) {
            own[i] = shape.flops() / nanos(twin);
            if (peer != null) {
                peer.threads(threads);
                others[i] = shape.flops() / nanos(() -> peer.multiply(shape.direction(), x, dw, y));
            }
        }
        Arrays.sort(own);
        Arrays.sort(others);
        return new Result(shape, weights, own[rounds / 2], own[rounds - 1], others[rounds / 2], others[rounds - 1]);
    }

    /** Nanoseconds of one call, averaged over a round: a turn after a pause. */
    private static double nanos(Runnable call) {
        try {
            Thread.sleep(PAUSE_MILLIS);
        } catch (InterruptedException e) {
            throw new IllegalStateException("interrupted while measuring", e);
        }
        call.run();
        return Timing.turn(call);
    }

    private static Tensor random(HostMemory memory, String name, DType dtype, long... shape) {
        Tensor t = memory.allocate(MemoryKind.WORKSPACE, name, dtype, shape);
        SplittableRandom random = new SplittableRandom(1);
        for (long i = 0; i < t.size(); i++) {
            // Small: a result overwrites an operand of the next call, and denormals or infinities would cost time.
            t.setFlat(i, (random.nextDouble() - 0.5) / 16);
        }
        return t;
    }
}
