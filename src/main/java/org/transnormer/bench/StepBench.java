package org.transnormer.bench;

import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.LearningRate;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.ObservedBackend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.Work;
import org.transnormer.bench.GemmShape.Direction;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.model.SequenceParallel;
import org.transnormer.model.ShardTable;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.train.Optimizer;
import org.transnormer.train.Trainer;

/**
 * A whole training step on random tokens: forward, backward, clipping, AdamW.
 *
 * @param config of the model
 * @param rows sequences of a step, on all ranks
 * @param length tokens of a sequence
 * @param recompute what the backward computes again
 * @param layout of the ranks that take the step together
 * @param mode what those of them share that read different tokens
 */
public record StepBench(ModelConfig config, int rows, long length, Recompute recompute, Layout layout,
        DataParallel.Mode mode) {

    /** @throws IllegalArgumentException if the ranks cannot share the rows, or the tokens of a row */
    public StepBench {
        if (layout.rows(rows) < 1 || layout.part(length) < 1) {
            throw new IllegalArgumentException("%d rows of %d tokens are nothing to compute".formatted(rows, length));
        }
    }

    /** A step of one process. */
    public StepBench(ModelConfig config, int rows, long length, Recompute recompute) {
        this(config, rows, length, recompute, new Layout(1, 1), DataParallel.Mode.REPLICATED);
    }

    /** The ranks of a step, seen from one of them. */
    public interface Ranks {
        /** One process. */
        Ranks ALONE = new Ranks() {
            @Override
            public int rank() {
                return 0;
            }

            @Override
            public Mesh mesh(Layout layout, Backend backend) {
                return Mesh.single();
            }

            @Override
            public boolean agreed(boolean mine) {
                return mine;
            }
        };

        /** Number of this one. */
        int rank();

        /** Its place, on a backend that computes. All ranks call it. */
        Mesh mesh(Layout layout, Backend backend);

        /** What rank 0 gives. All ranks call it. */
        boolean agreed(boolean mine);
    }

    /**
     * What a step came to.
     *
     * @param step time of one step
     * @param allocated bytes on the Java heap per step, all threads
     * @param plan tensors of this rank
     * @param deviceBytes taken of this rank's device, 0 without one
     * @param peakFlops of the device by its data sheet, if it is known
     * @param untilFirst seconds from the start of this Java machine to the end of the first step
     * @param sumsBeside how ranks sum beside the computation, where there is more than one way
     */
    public record Result(Timing step, double allocated, MemoryPlan plan, long deviceBytes, OptionalDouble peakFlops,
            double untilFirst, Optional<String> sumsBeside) {
    }

    /**
     * One leaf call's part in a step.
     *
     * @param call component and method
     * @param nanos per step, its calls together
     * @param calls per step
     * @param allocated bytes on the Java heap per step, in all threads, since the leaf call before
     * @param work per step
     */
    public record Part(String call, double nanos, double calls, double allocated, Work work) {
    }

    /**
     * Every product of activations with a matrix that a step computes: forward, gradient of the input, gradient of the
     * matrix. The products inside the attention are not among them.
     */
    public List<GemmShape> products() {
        long tokens = rows * length;
        List<GemmShape> shapes = new ArrayList<>();
        for (Direction direction : Direction.values()) {
            for (int layer = 0; layer < config.layers(); layer++) {
                long projected = (long) config.projectionGroups() * config.hidden();
                shapes.add(new GemmShape(direction, tokens, config.width(), projected));
                shapes.add(new GemmShape(direction, tokens, config.hidden(), config.width()));
                shapes.add(new GemmShape(direction, tokens, config.width(), 2L * config.gluWidth()));
                shapes.add(new GemmShape(direction, tokens, config.gluWidth(), config.width()));
            }
            shapes.add(new GemmShape(direction, tokens, config.width(), config.paddedVocabulary()));
        }
        return shapes;
    }

    /** Floating-point operations of {@link #products}, of all ranks together. */
    public double flops() {
        return products().stream().mapToDouble(GemmShape::flops).sum();
    }

    /**
     * What the products alone would take if each ran at the rate of its direction.
     *
     * @param rates results for one shape in all three directions
     * @return nanoseconds
     */
    public double productNanos(List<GemmBench.Result> rates) {
        double nanos = 0;
        for (GemmBench.Result rate : rates) {
            nanos += products().stream().filter(shape -> shape.direction() == rate.shape().direction())
                    .mapToDouble(GemmShape::flops).sum() / rate.gflops();
        }
        return nanos;
    }

    /** Times steps of one process. */
    public Result run(BackendKind kind, Precision precision, int threads, double seconds) {
        return run(kind, precision, threads, seconds, Ranks.ALONE);
    }

    /** Times steps. All ranks call it. */
    public Result run(BackendKind kind, Precision precision, int threads, double seconds, Ranks ranks) {
        try (Backend backend = kind.open(precision, threads, plan(kind, precision, threads, ranks.rank()))) {
            Mesh mesh = ranks.mesh(layout, backend);
            Trainer trainer = trainer(backend, mesh);
            trainer.next();
            double untilFirst = ManagementFactory.getRuntimeMXBean().getUptime() / 1e3;
            Timing timing = Timing.of(seconds, trainer::next, ranks::agreed);
            double allocated = HeapAllocation.bytesPerCall(Math.clamp(timing.rounds(), 1, 20), trainer::next);
            return new Result(timing, allocated, backend.memory().plan(), backend.deviceBytes(),
                    backend.peakFlops(), untilFirst, mesh.sumsBeside());
        }
    }

    /** The best rates of the device, to compare with: a copy of half a gigabyte, a product of 8192 cubed. */
    public static Ceilings ceilings(BackendKind kind, Precision precision, int threads) {
        try (Backend backend = kind.open(precision, threads)) {
            return Ceilings.of(backend, 1L << 29, 8192);
        }
    }

    /** Times every leaf call of some steps of one process, in a run of its own; the most expensive first. */
    public List<Part> profile(BackendKind kind, Precision precision, int threads, double seconds) {
        Map<String, Sum> sums = new TreeMap<>();
        long[] allocated = new long[1];
        List<Runnable> pending = new ArrayList<>();
        try (Backend backend = new ObservedBackend(kind.open(precision, threads, plan(kind, precision, threads, 0)),
                (component, method, arguments, elapsed) -> {
                    long heap = HeapAllocation.total() - allocated[0];
                    Work work = Work.of(component, method, arguments);
                    Sum sum = sums.computeIfAbsent(component + "." + method, name -> new Sum());
                    pending.add(() -> {
                        sum.add(elapsed.nanos(), heap, work);
                        elapsed.release();
                    });
                    allocated[0] = HeapAllocation.total();
                })) {
            Trainer trainer = trainer(backend);
            Runnable step = () -> {
                trainer.next();
                pending.forEach(Runnable::run);
                pending.clear();
            };
            int steps = Timing.of(seconds / 2, step).rounds();
            sums.clear();
            for (int i = 0; i < steps; i++) {
                step.run();
            }
            return sums.entrySet().stream().map(e -> e.getValue().part(e.getKey(), steps))
                    .sorted(Comparator.comparingDouble(Part::nanos).reversed()).toList();
        }
    }

    private static final class Sum {
        private double nanos;
        private long calls;
        private long allocated;
        private Work work = Work.NONE;

        void add(double time, long heap, Work more) {
            nanos += time;
            calls++;
            allocated += heap;
            work = work.plus(more);
        }

        Part part(String call, double steps) {
            return new Part(call, nanos / steps, calls / steps, allocated / steps, work.over(steps));
        }
    }

    private MemoryPlan plan(BackendKind kind, Precision precision, int threads, int rank) {
        try (Backend backend = kind.plan(precision, threads)) {
            parts(backend, Mesh.planned(layout, rank));
            return backend.memory().plan();
        }
    }

    /** Everything that takes memory. */
    private record Parts(Weights weights, Optimizer optimizer, Trainer trainer) {
    }

    Trainer trainer(Backend backend) {
        return trainer(backend, Mesh.single());
    }

    private Trainer trainer(Backend backend, Mesh mesh) {
        Parts parts = parts(backend, mesh);
        parts.weights().initialise(1);
        parts.optimizer().adoptWeights();
        return parts.trainer();
    }

    private Parts parts(Backend backend, Mesh mesh) {
        Communicator tensor = mesh.tensor();
        int mine = layout.rows(rows);
        long part = layout.part(length);
        SequenceParallel sequence = SequenceParallel.of(mesh.sequence(), mine);
        Weights weights = new Weights(config, backend.precision(), backend.memory(), true,
                new ShardTable(config, tensor.rank(), tensor.size()), DataParallel.of(mode, mesh.data()));
        TransNormer model = new TransNormer(backend, tensor, config, weights, TransNormer.Mode.TRAINING,
                mine * part, recompute, sequence);
        Optimizer optimizer = new Optimizer(backend, tensor, weights,
                new AdamW.Constants(0.9, 0.95, 1e-8, 0.1), 1);
        Trainer trainer = new Trainer(backend, model, optimizer, new LearningRate.Constant(1e-4, 0),
                new RandomTokens(sequence.border(), part, config.vocabulary(), mesh.data().rank()), 1);
        backend.commit();
        return new Parts(weights, optimizer, trainer);
    }
}
