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
import org.transnormer.backend.Precision;
import org.transnormer.lightning.Sequences;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.model.Batch;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.Recompute;
import org.transnormer.model.ShardTable;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.InProcess;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * Some training steps of a model on one rank or several, on made-up batches, and what came of them as whole tensors.
 *
 * @param kind backend of each rank
 * @param tokens of a batch, in sequences of random lengths and starts
 */
record TensorParallelRun(ModelConfig config, BackendKind kind, Precision precision, int tokens, Recompute recompute,
        boolean masked, long seed) {
    private static final Duration TIMEOUT = Duration.ofSeconds(120);
    private static final int MICRO_BATCHES = 2;
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

    /** @param memory of the result */
    Result on(int ranks, int steps, HostMemory memory) {
        Result result = new Result(new double[steps], new double[steps], new LinkedHashMap<>(), new LinkedHashMap<>());
        for (Parameter p : wholeParameters()) {
            for (Map<String, Tensor> tensors : List.of(result.gradients, result.weights)) {
                Tensor t = memory.allocate(MemoryKind.WORKSPACE, p.name(), DType.F64, p.shape());
                t.fill(Double.NaN);
                tensors.put(p.name(), t);
            }
        }
        if (ranks == 1) {
            rank(Communicator.single(), steps, result);
        } else {
            InProcess.run(ranks, TIMEOUT, communicator -> rank(communicator, steps, result));
        }
        return result;
    }

    private List<Parameter> wholeParameters() {
        try (HostMemory memory = new HostMemory()) {
            return new Weights(config, precision, memory, false).parameters();
        }
    }

    private void rank(Communicator communicator, int steps, Result result) {
        try (Backend backend = kind.open(precision, 1)) {
            ShardTable shards = new ShardTable(config, communicator.rank(), communicator.size());
            Weights weights = new Weights(config, precision, backend.memory(), true, shards);
            weights.initialise(seed);
            TransNormer model = new TransNormer(backend, communicator, config, weights, TransNormer.Mode.TRAINING,
                    tokens, recompute);
            Optimizer optimizer = new Optimizer(backend, communicator, weights,
                    new AdamW.Constants(0.9, 0.95, 1e-8, 0.1), CLIP);
            Batch batch = new Batch(backend.memory(), precision.accumulation(), tokens, tokens);
            Tensor total = backend.memory().allocate(MemoryKind.DATA, "loss", DType.F64, 1);
            backend.commit();
            optimizer.adoptWeights();
            for (int step = 0; step < steps; step++) {
                backend.zero(total);
                for (int micro = 0; micro < MICRO_BATCHES; micro++) {
                    fill(batch, step * MICRO_BATCHES + micro);
                    model.forward(batch, null, Trace.NONE);
                    backend.crossEntropy().total(model.backward(batch, micro > 0, Trace.NONE), total);
                }
                if (step == 0) {
                    collect(communicator, weights, true, result.gradients);
                }
                optimizer.step(step + 1, LEARNING_RATE);
                agree(communicator, result.losses, step, total.get(0) / (MICRO_BATCHES * tokens));
                agree(communicator, result.norms, step, optimizer.gradientNorm());
            }
            collect(communicator, weights, false, result.weights);
        }
    }

    /** The same batch on every rank. */
    private void fill(Batch batch, long number) {
        SplittableRandom random = new SplittableRandom(seed + 1000 * number);
        batch.sequences().clear();
        for (int left = tokens; left > 0;) {
            int length = 1 + random.nextInt(left);
            batch.sequences().add(length, config.positions() > 0 ? 0 : random.nextInt(20), Sequences.NO_SLOT);
            left -= length;
        }
        for (int t = 0; t < tokens; t++) {
            batch.idBuffer().setInt(t, random.nextInt(config.vocabulary()));
            boolean ignored = random.nextInt(6) == 0;
            batch.targetBuffer().setInt(t, ignored ? CrossEntropy.IGNORE : random.nextInt(config.vocabulary()));
            if (masked) {
                batch.maskBuffer().setInt(t, random.nextInt(4) == 0 ? 0 : 1);
            }
        }
        batch.countTargets((long) MICRO_BATCHES * tokens);
        batch.upload();
    }

    /** Puts the ranks' parts where they belong; what all have must be the same bits on all. */
    private static void collect(Communicator communicator, Weights weights, boolean gradients,
            Map<String, Tensor> wholes) {
        for (Parameter p : weights.parameters()) {
            Tensor part = gradients ? p.gradient() : p.value();
            Tensor whole = wholes.get(p.name());
            if (!p.shard().isReplicated() || communicator.rank() == 0) {
                p.shard().give(part, whole);
            }
        }
        communicator.barrier();
        for (Parameter p : weights.parameters()) {
            Tensor part = gradients ? p.gradient() : p.value();
            for (long i = 0; i < part.size() && p.shard().isReplicated(); i++) {
                assertThat(part.getFlat(i)).as("%s[%d] on rank %d and on rank 0", p.name(), i, communicator.rank())
                        .isEqualTo(wholes.get(p.name()).getFlat(i));
            }
        }
        communicator.barrier();
    }

    /** Every rank has the same bits; rank 0 keeps them. */
    private static void agree(Communicator communicator, double[] kept, int step, double value) {
        if (communicator.rank() == 0) {
            kept[step] = value;
        }
        communicator.barrier();
        assertThat(value).as("step %d, rank %d", step, communicator.rank()).isEqualTo(kept[step]);
        communicator.barrier();
    }
}
