package org.transnormer.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorCompletionService;
import java.util.concurrent.Executors;
import java.util.function.UnaryOperator;
import org.transnormer.cuda.DeviceMemory;
import org.transnormer.cuda.Event;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.NcclId;
import org.transnormer.parallel.Nccl;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.Tensor;

/**
 * Collectives of several GPUs, in place. The bandwidth is that of nccl-tests' "bus bandwidth": what each GPU's
 * link carries in one direction, whatever the number of ranks.
 *
 * @param dtype of the numbers
 * @param sizes bytes of the whole tensor
 * @param seconds spent on each figure
 */
public record CollectivesBench(DType dtype, List<Long> sizes, double seconds) {
    private static final int WARM_UP = 5;
    private static final int MOST_CALLS = 10_000;

    /** What is measured. */
    public enum Collective {
        ALL_REDUCE("all-reduce", 2),
        /** As it goes beside the computation: by copies where the GPUs reach each other. */
        ALL_REDUCE_BESIDE("all-reduce beside", 2),
        ALL_GATHER("all-gather", 1),
        REDUCE_SCATTER("reduce-scatter", 1);

        private final String label;
        private final int passes;

        Collective(String label, int passes) {
            this.label = label;
            this.passes = passes;
        }

        public String label() {
            return label;
        }

        private Runnable call(Nccl ranks, Nccl beside, Tensor part, Tensor whole) {
            return switch (this) {
                case ALL_REDUCE -> () -> ranks.allReduceSum(whole);
                case ALL_REDUCE_BESIDE -> () -> {
                    beside.collectivesAwaitCompute();
                    beside.allReduceSum(whole);
                    beside.computeAwaitsCollectives();
                };
                case ALL_GATHER -> () -> ranks.allGather(part, whole);
                case REDUCE_SCATTER -> () -> ranks.reduceScatterSum(whole, part);
            };
        }
    }

    /**
     * A figure.
     *
     * @param bytes of the whole tensor
     * @param ranks GPUs
     * @param milliseconds mean of the calls, each behind the one before
     */
    public record Result(Collective collective, long bytes, int ranks, double milliseconds, int calls) {
        /** Bytes per second over each GPU's link in one direction. */
        public double busBandwidth() {
            return collective.passes * (ranks - 1.0) / ranks * bytes / (milliseconds / 1e3);
        }
    }

    /**
     * Measures on the first GPUs of this machine, a thread for each.
     *
     * @return the figures of the first
     */
    public List<Result> run(int gpus) {
        NcclId id = NcclId.create();
        var ranks = new ExecutorCompletionService<List<Result>>(
                Executors.newThreadPerTaskExecutor(Thread.ofPlatform().daemon().name("rank ", 0).factory()));
        var first = ranks.submit(() -> rank(id, 0, gpus));
        for (int r = 1; r < gpus; r++) {
            int rank = r;
            ranks.submit(() -> rank(id, rank, gpus));
        }
        try {
            // The first to fail is heard at once: others may wait for it for ever.
            for (int r = 0; r < gpus; r++) {
                ranks.take().get();
            }
            return first.get();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        } catch (ExecutionException e) {
            if (e.getCause() instanceof RuntimeException cause) {
                throw cause;
            }
            throw new IllegalStateException(e.getCause());
        }
    }

    /**
     * Measures as one of the ranks, on the GPU of {@code -Dtnl.device}, else the first one.
     *
     * @param share gives to all what rank 0 has; others have nothing
     */
    public List<Result> rank(int rank, int size, UnaryOperator<byte[]> share) {
        byte[] id = share.apply(rank == 0 ? NcclId.create().bytes() : new byte[0]);
        try (Gpu gpu = Gpu.open()) {
            return measure(gpu, NcclId.of(id), rank, size);
        }
    }

    private List<Result> rank(NcclId id, int rank, int size) {
        try (Gpu gpu = Gpu.open(rank)) {
            return measure(gpu, id, rank, size);
        }
    }

    /** All memory is taken before the ranks meet: later it might wait for a collective that waits for it. */
    private List<Result> measure(Gpu gpu, NcclId id, int rank, int size) {
        List<Result> results = new ArrayList<>();
        try (DeviceMemory memory = new DeviceMemory(gpu.stream(), new MemoryPlan())) {
            Tensor largest = memory.allocate(MemoryKind.WORKSPACE, "whole", dtype,
                    sizes.stream().mapToLong(Long::longValue).max().orElseThrow() / dtype.bytes());
            Tensor calls = memory.allocate(MemoryKind.DATA, "calls", DType.I32, 1);
            Nccl ranks = Nccl.join(gpu, id, rank, size);
            Nccl beside = ranks.beside();
            for (long bytes : sizes) {
                long n = bytes / dtype.bytes() / size;
                Tensor whole = largest.slice(0, 0, n * size);
                Tensor part = whole.slice(0, n * rank, n * (rank + 1));
                for (Collective collective : Collective.values()) {
                    Runnable call = collective.call(ranks, beside, part, whole);
                    milliseconds(gpu, ranks, call, WARM_UP);
                    double once = milliseconds(gpu, ranks, call, WARM_UP);
                    calls.setInt(0, (int) Math.clamp(seconds * 1e3 / once, WARM_UP, MOST_CALLS));
                    calls.upload();
                    ranks.broadcast(calls, 0);
                    calls.download();
                    results.add(new Result(collective, n * size * dtype.bytes(), size,
                            milliseconds(gpu, ranks, call, calls.getInt(0)), calls.getInt(0)));
                }
            }
        }
        return results;
    }

    /** Of one call, when all ranks begin together. */
    private static double milliseconds(Gpu gpu, Nccl ranks, Runnable call, int calls) {
        try (Event start = Event.timed(gpu.context()); Event end = Event.timed(gpu.context())) {
            ranks.barrier();
            gpu.stream().record(start);
            for (int i = 0; i < calls; i++) {
                call.run();
            }
            gpu.stream().record(end);
            end.synchronize();
            return end.millisecondsSince(start) / calls;
        }
    }
}
