package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.transnormer.adamw.AdamW;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.CudaBackend;
import org.transnormer.backend.Precision;
import org.transnormer.cuda.DeviceMemory;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.NcclId;
import org.transnormer.lightning.Border;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.model.Batch;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.ParameterGroup;
import org.transnormer.model.Recompute;
import org.transnormer.model.SequenceParallel;
import org.transnormer.model.ShardTable;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.InProcess;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.parallel.SmallCopies;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;
import org.transnormer.testing.GpuRanks;
import org.transnormer.testing.SameBits;

/**
 * Some training steps of a model on one rank or several, on made-up batches, and what came of them as whole tensors.
 *
 * @param kind backend of each rank
 * @param tokens of a reader's batch, in sequences of random lengths and starts
 * @param readers batches that are read side by side: each data rank reads an equal number of them as one, and each of the
 *     ranks that hold parts of them an equal part of every one
 */
record ParallelRun(ModelConfig config, BackendKind kind, Precision precision, int tokens, int readers,
        int microBatches, Recompute recompute, boolean masked, long seed) {
    private static final Duration TIMEOUT = Duration.ofSeconds(120);
    private static final double CLIP = 0.5;
    private static final double LEARNING_RATE = 1e-3;

    /**
     * What a run computed.
     *
     * @param losses mean loss of each step
     * @param norms gradient norm of each step
     * @param gradients of the first step, by name
     * @param weights after the last step, by name
     */
    record Result(double[] losses, double[] norms, Map<String, Tensor> gradients, Map<String, Tensor> weights) {
    }

    /** What takes memory on a rank. */
    private record Parts(Weights weights, TransNormer model, Optimizer optimizer, Batch batch, Tensor total) {
    }

    /** @param memory of the result */
    Result on(Layout layout, DataParallel.Mode mode, int steps, HostMemory memory) {
        Result result = new Result(new double[steps], new double[steps], new LinkedHashMap<>(), new LinkedHashMap<>());
        for (Parameter p : wholeParameters()) {
            for (Map<String, Tensor> tensors : List.of(result.gradients, result.weights)) {
                Tensor t = memory.allocate(MemoryKind.WORKSPACE, p.name(), DType.F64, p.shape());
                t.fill(Double.NaN);
                tensors.put(p.name(), t);
            }
        }
        if (layout.size() == 1) {
            rank(kind.open(precision, 1), Mesh.single(), mode, steps, result);
        } else if (kind == BackendKind.CUDA) {
            NcclId id = NcclId.create();
            GpuRanks.run(layout.size(), r -> {
                Gpu gpu = Gpu.open(r);
                rank(new CudaBackend(precision, gpu, new DeviceMemory(gpu.stream(), new MemoryPlan())),
                        Mesh.of(layout, SmallCopies.join(gpu, id, r, layout.size())), mode, steps, result);
            });
        } else {
            InProcess.run(layout.size(), TIMEOUT, world -> rank(kind.open(precision, 1), Mesh.of(layout, world), mode,
                    steps, result));
        }
        return result;
    }

    private List<Parameter> wholeParameters() {
        try (HostMemory memory = new HostMemory()) {
            return new Weights(config, precision, memory, false).parameters();
        }
    }

    private Parts parts(Backend backend, Mesh mesh, DataParallel.Mode mode) {
        Communicator tensor = mesh.tensor();
        int rows = readers / mesh.layout().data();
        int most = tokens / mesh.layout().sequence() * rows;
        // All that meets comes before all that takes memory.
        DataParallel data = DataParallel.of(mode, mesh.data());
        SequenceParallel sequence = SequenceParallel.of(mesh.sequence(), rows);
        Weights weights = new Weights(config, precision, backend.memory(), true,
                new ShardTable(config, tensor.rank(), tensor.size()), data);
        TransNormer model = new TransNormer(backend, tensor, config, weights, TransNormer.Mode.TRAINING, most,
                recompute, sequence);
        Optimizer optimizer = new Optimizer(backend, tensor, weights, new AdamW.Constants(0.9, 0.95, 1e-8, 0.1), CLIP);
        Batch batch = new Batch(backend.memory(), precision.accumulation(), most, most);
        Tensor total = backend.memory().allocate(MemoryKind.DATA, "loss", DType.F64, 1);
        backend.commit();
        return new Parts(weights, model, optimizer, batch, total);
    }

    private void rank(Backend opened, Mesh mesh, DataParallel.Mode mode, int steps, Result result) {
        try (Backend backend = opened) {
            Parts parts = parts(backend, mesh, mode);
            GpuRanks.meet();
            parts.weights.initialise(seed);
            parts.optimizer.adoptWeights();
            for (int step = 0; step < steps; step++) {
                backend.zero(parts.total);
                for (int micro = 0; micro < microBatches; micro++) {
                    fill(parts.batch, mesh, step * microBatches + micro);
                    parts.model.forward(parts.batch, null, Trace.NONE);
                    backend.crossEntropy().total(parts.model.backward(parts.batch, micro > 0,
                            micro == microBatches - 1, Trace.NONE), parts.total);
                }
                mesh.data().allReduceSum(parts.total);
                if (step == 0) {
                    collect(backend, mesh, parts.weights, true, result.gradients);
                }
                parts.optimizer.step(step + 1, LEARNING_RATE);
                parts.total.download();
                agree(mesh.world(), result.losses, step, parts.total.get(0) / targets());
                agree(mesh.world(), result.norms, step, parts.optimizer.gradientNorm());
            }
            collect(backend, mesh, parts.weights, false, result.weights);
            if (kind != BackendKind.CUDA) {
                assertPlanned(backend, mesh, mode);
            }
        }
    }

    private long targets() {
        return (long) microBatches * readers * tokens;
    }

    /** The steps took nothing that a plan of this rank, made with no other rank about, did not say. */
    private void assertPlanned(Backend backend, Mesh mesh, DataParallel.Mode mode) {
        try (Backend planned = kind.plan(precision, 1)) {
            parts(planned, Mesh.planned(mesh.layout(), mesh.world().rank()), mode);
            for (MemoryKind row : MemoryKind.values()) {
                assertThat(backend.memory().plan().bytes(row)).as("%s of rank %d", row, mesh.world().rank())
                        .isEqualTo(planned.memory().plan().bytes(row));
            }
        }
    }

    /** The batches of this rank's readers one after the other, the same on all ranks of a tensor group. */
    private void fill(Batch batch, Mesh mesh, long number) {
        int each = readers / mesh.layout().data();
        batch.sequences().clear();
        for (int i = 0; i < each; i++) {
            int reader = mesh.layout().dataRank(mesh.world().rank()) * each + i;
            append(batch, new SplittableRandom(seed + 1000 * (number * readers + reader)), i,
                    new Border(each, mesh.sequence().rank(), mesh.sequence().size()));
        }
        batch.countTargets(targets());
        batch.upload();
    }

    /** This rank's part of a reader's batch, all of which is drawn. */
    private void append(Batch batch, SplittableRandom random, int row, Border border) {
        int part = tokens / border.parts();
        int first = border.part() * part;
        int end = first + part;
        int from = 0;
        while (from < tokens) {
            int to = from + 1 + random.nextInt(tokens - from);
            int start = config.positions() > 0 ? 0 : random.nextInt(20);
            int mine = Math.max(from, first);
            if (mine < Math.min(to, end)) {
                batch.sequences().add(Math.min(to, end) - mine, start + mine - from, border.slot(row, from < first,
                        to > end));
            }
            from = to;
        }
        for (int t = 0; t < tokens; t++) {
            int id = random.nextInt(config.vocabulary());
            boolean ignored = random.nextInt(6) == 0;
            int target = ignored ? CrossEntropy.IGNORE : random.nextInt(config.vocabulary());
            int mask = masked && random.nextInt(4) == 0 ? 0 : 1;
            if (t >= first && t < end) {
                long at = (long) row * part + t - first;
                batch.idBuffer().setInt(at, id);
                batch.targetBuffer().setInt(at, target);
                if (masked) {
                    batch.maskBuffer().setInt(at, mask);
                }
            }
        }
    }

    /** Puts the ranks' parts where they belong; what several have must be the same bits on all. */
    private void collect(Backend backend, Mesh mesh, Weights weights, boolean gradients,
            Map<String, Tensor> wholes) {
        try (HostMemory memory = new HostMemory()) {
            Map<ParameterGroup, Tensor> flats = new LinkedHashMap<>();
            for (ParameterGroup group : weights.groups()) {
                flats.put(group, flat(backend, mesh.data(), group, gradients, memory));
            }
            for (Parameter p : weights.parameters()) {
                if (mesh.data().rank() == 0 && (!p.shard().isReplicated() || mesh.tensor().rank() == 0)) {
                    synchronized (wholes) {
                        p.shard().give(p.of(flats.get(p.group())), wholes.get(p.name()));
                    }
                }
            }
            mesh.world().barrier();
            for (Parameter p : weights.parameters()) {
                Tensor part = p.of(flats.get(p.group()));
                Tensor want = memory.allocate(MemoryKind.WORKSPACE, p.name(), part.dtype(), p.shape());
                synchronized (wholes) {
                    p.shard().take(wholes.get(p.name()), want);
                }
                assertThat(SameBits.checksum(part)).as("%s on rank %d", p.name(), mesh.world().rank())
                        .isEqualTo(SameBits.checksum(want));
            }
            mesh.world().barrier();
        }
    }

    /** A whole group as this rank has it, or as it is gathered from shares, in host memory. */
    private Tensor flat(Backend backend, Communicator data, ParameterGroup group, boolean gradients,
            HostMemory memory) {
        Tensor share = gradients ? group.gradientShare() : group.valueShare();
        Tensor flat = gradients ? group.gradient() : group.value();
        if (share.size() != group.size() && (gradients || group.isGathered())) {
            Memory there = kind == BackendKind.CUDA ? backend.memory() : memory;
            flat = there.allocate(MemoryKind.WORKSPACE, group.name(), share.dtype(), group.size());
            GpuRanks.meet();
            data.allGather(share, flat);
        }
        Tensor host = memory.allocate(MemoryKind.WORKSPACE, group.name(), flat.dtype(), group.size());
        host.copyFrom(flat);
        return host;
    }

    /** Every rank has the same bits; rank 0 keeps them. */
    private static void agree(Communicator communicator, double[] kept, int step, double value) {
        if (communicator.rank() == 0) {
            synchronized (kept) {
                kept[step] = value;
            }
        }
        communicator.barrier();
        synchronized (kept) {
            assertThat(value).as("step %d, rank %d", step, communicator.rank()).isEqualTo(kept[step]);
        }
        communicator.barrier();
    }
}
