package org.transnormer.verify;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.backend.CudaBackend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.inference.RobustInference;
import org.transnormer.lightning.Sequences;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.model.Batch;
import org.transnormer.model.DecodeState;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.TransNormer;
import org.transnormer.model.TransNormer.Mode;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * What a backend computes for a golden case: every tensor that the layout names, in the layout's shape, in F64. SPEC
 * section 6.5.
 */
final class GoldenRun implements AutoCloseable {
    private final Backend backend;
    private final GoldenCase golden;
    private final Function<String, Tensor> values;
    private final ModelConfig config;
    private final Weights weights;
    private final TransNormer trained;
    private final TransNormer used;
    private final RobustInference inference;
    private final HostMemory memory = new HostMemory();
    private final Map<String, Tensor> outputs = new LinkedHashMap<>();
    private final Set<String> fused = new LinkedHashSet<>();
    private final int sequences;
    private final int tokens;
    private final boolean composedOnly;

    /**
     * Makes a model of the case on a backend and fills it.
     *
     * @param backend not yet committed; closed with the run
     * @param values the parameters by name, and the input of the activation functions: rounded once to the types that
     *     the backend computes with
     * @param composedOnly whether the training forward is by the composed parts only; otherwise they run first, and
     *     the fused path's values replace theirs
     */
    GoldenRun(Backend backend, GoldenCase golden, Function<String, Tensor> values, boolean composedOnly) {
        this.backend = backend;
        this.golden = golden;
        this.values = values;
        this.composedOnly = composedOnly;
        config = golden.config();
        sequences = golden.sequences();
        tokens = golden.tokens();
        boolean complete = false;
        try {
            long all = (long) sequences * tokens;
            weights = new Weights(config, backend.precision(), backend.memory(), true);
            trained = new TransNormer(backend, Communicator.single(), config, weights, Mode.TRAINING, all);
            used = new TransNormer(backend, Communicator.single(), config, weights, Mode.INFERENCE, all);
            inference = new RobustInference(backend, used, sequences);
            backend.commit();
            for (Parameter p : weights.parameters()) {
                p.exported(p.group().value()).copyFrom(values.apply(p.name()));
            }
            complete = true;
        } finally {
            if (!complete) {
                close();
            }
        }
    }

    /** Computes everything; closes this if that fails. Runs of the spec may do so at the same time. */
    GoldenRun run() {
        boolean complete = false;
        try {
            slopes();
            functions();
            Batch batch = batch(null);
            forward(batch, true);
            if (!composedOnly) {
                forward(batch, false);
            }
            backward(batch);
            infer();
            if (golden.mask() != null) {
                padded();
            }
            complete = true;
            return this;
        } finally {
            if (!complete) {
                close();
            }
        }
    }

    /** What the model of a run takes in F64, whose like the constructor makes. */
    static long modelBytes(ModelConfig config, int sequences, int tokens) {
        try (Backend plan = new ScalarBackend(Precision.F64, new PlanMemory())) {
            long all = (long) sequences * tokens;
            Weights weights = new Weights(config, plan.precision(), plan.memory(), true);
            new TransNormer(plan, Communicator.single(), config, weights, Mode.TRAINING, all);
            TransNormer used = new TransNormer(plan, Communicator.single(), config, weights, Mode.INFERENCE, all);
            new RobustInference(plan, used, sequences);
            plan.commit();
            return plan.memory().plan().total();
        }
    }

    Precision precision() {
        return backend.precision();
    }

    /** Whether every component rounds what it writes and nothing else; fused ones round elsewhere, and less. */
    boolean roundsWhereTheSpecDoes() {
        return !(backend instanceof CudaBackend);
    }

    /** For people. */
    String describe() {
        return backend.describe() + (composedOnly ? ", composed parts only" : "");
    }

    /** The tensor of a name in the golden file's shape, or null if the run did not produce it. */
    Tensor output(String name) {
        return outputs.get(name);
    }

    /** Whether a tensor is from the composed parts because the fused path, which ran too, never writes it. */
    boolean isComposed(String name) {
        return name.startsWith("act.") && !fused.isEmpty() && !fused.contains(name);
    }

    /** A parameter as this run computes with it, or the input of its activation functions. */
    Tensor value(String name) {
        if (name.equals(GoldenCase.FUNCTION_INPUT)) {
            return outputs.get(name);
        }
        Parameter p = weights.parameter(name);
        return p.exported(p.group().value());
    }

    @Override
    public void close() {
        backend.close();
        memory.close();
    }

    private void slopes() {
        for (String name : golden.names()) {
            if (name.startsWith(GoldenCase.SLOPES)) {
                int heads = Integer.parseInt(name.substring(GoldenCase.SLOPES.length()));
                double[] slopes = DecaySchedule.RELEASED.rates(DecayTemperature.NONE, heads, 0, 1);
                fill(put(name, heads), slopes);
            }
        }
        Tensor rates = put("slope_rate", config.layers(), config.heads());
        for (int layer = 0; layer < config.layers(); layer++) {
            fill(rates.select(0, layer), config.rates(layer));
        }
    }

    /** As the backend holds them: rounded once to its accumulation type. */
    private void fill(Tensor target, double[] rates) {
        Tensor rounded = memory.allocate(MemoryKind.DATA, "rates", backend.precision().accumulation(), rates.length);
        for (int h = 0; h < rates.length; h++) {
            rounded.set(h, rates[h]);
        }
        target.copyFrom(rounded);
    }

    /** The activation functions on the golden grid, its last axis being the one that some take a maximum over. */
    private void functions() {
        for (String name : golden.names()) {
            if (!name.startsWith(GoldenCase.FUNCTIONS)) {
                continue;
            }
            Tensor input = values.apply(GoldenCase.FUNCTION_INPUT);
            long[] shape = input.shape();
            long last = shape[shape.length - 1];
            long rows = last == 0 ? 0 : input.size() / last;
            Tensor x =
                    backend.memory().allocate(MemoryKind.DATA, "x", backend.precision().activations(), rows, 1, last);
            Tensor y =
                    backend.memory().allocate(MemoryKind.DATA, "y", backend.precision().activations(), rows, 1, last);
            x.copyFrom(input.reshape(rows, 1, last));
            x.upload();
            put(GoldenCase.FUNCTION_INPUT, shape).copyFrom(x.reshape(shape));
            String function = name.substring(GoldenCase.FUNCTIONS.length());
            if (rows > 0) {
                backend.activation().forward(ActivationFunction.released(function), x, y);
            }
            y.download();
            put(name, shape).copyFrom(y.reshape(shape));
        }
    }

    /** The golden tokens and targets, with the value mask if there is one. */
    private Batch batch(int[][] mask) {
        long all = (long) sequences * tokens;
        Batch batch = new Batch(backend.memory(), backend.precision().accumulation(), sequences, all);
        int counted = 0;
        for (int b = 0; b < sequences; b++) {
            batch.sequences().add(tokens, 0, mask == null ? Sequences.NO_SLOT : b);
            for (int t = 0; t < tokens; t++) {
                long at = (long) b * tokens + t;
                int target = t + 1 < tokens ? golden.labels()[b][t + 1] : CrossEntropy.IGNORE;
                counted += target == CrossEntropy.IGNORE ? 0 : 1;
                batch.idBuffer().setInt(at, golden.ids()[b][t]);
                batch.targetBuffer().setInt(at, target);
                if (mask != null) {
                    batch.maskBuffer().setInt(at, mask[b][t]);
                }
            }
        }
        // no target at all: the loss is 0/0 as in the released code, and there is nothing to learn
        batch.scale().set(0, counted == 0 ? 0 : 1.0 / counted);
        batch.upload();
        return batch;
    }

    private void forward(Batch batch, boolean composed) {
        trained.forward(batch, null, new Trace() {
            @Override
            public void record(String name, Tensor tensor) {
                keep("act." + name, tensor);
                if (!composed) {
                    fused.add("act." + name);
                }
            }

            @Override
            public boolean composed() {
                return composed;
            }
        });
        logits(trained, put("logits", sequences, tokens, config.vocabulary()).reshape(all(), config.vocabulary()));
        Tensor losses = trained.losses(batch);
        put("token_losses", sequences, tokens - 1L)
                .copyFrom(losses.reshape(sequences, tokens).slice(1, 0, tokens - 1L));
        Tensor total = backend.memory().allocate(MemoryKind.DATA, "total", DType.F64, 1);
        backend.crossEntropy().total(losses, total);
        total.download();
        put("loss").setFlat(0, total.get(0) / counted(batch));
    }

    private static double counted(Batch batch) {
        long counted = 0;
        for (long t = 0; t < batch.tokens(); t++) {
            counted += batch.targets().getInt(t) == CrossEntropy.IGNORE ? 0 : 1;
        }
        return counted;
    }

    private void backward(Batch batch) {
        trained.backward(batch, false, (name, tensor) -> keep("act_grad." + name, tensor));
        for (Parameter p : weights.parameters()) {
            String name = "grad." + p.name();
            Tensor gradient = p.exported(p.group().gradient());
            if (gradient.dtype() == DType.F64) {
                // the spec's own, which nothing writes from here on: a third of its memory
                outputs.put(name, gradient.named(name));
            } else {
                put(name, gradient.shape()).copyFrom(gradient);
            }
        }
    }

    /** The prompt at once for each sequence, then all sequences together token by token. */
    private void infer() {
        int prompt = golden.prompt();
        Tensor logits = put("infer.logits", sequences, tokens, config.vocabulary());
        for (int b = 0; b < sequences; b++) {
            inference.extend(b, Arrays.copyOf(golden.ids()[b], prompt));
            logits(used, logits.select(0, b).slice(0, 0, prompt));
        }
        states("infer.kv_prefill.", inference.state());
        int together = Math.toIntExact(Math.min(sequences, used.logitsChunk()));
        for (int t = prompt; t < tokens; t++) {
            for (int from = 0; from < sequences; from += together) {
                int n = Math.min(together, sequences - from);
                int[] slots = new int[n];
                int[] next = new int[n];
                for (int i = 0; i < n; i++) {
                    slots[i] = from + i;
                    next[i] = golden.ids()[from + i][t];
                }
                Tensor z = inference.decode(slots, next);
                logits.select(1, t).slice(0, from, from + n).copyFrom(z.slice(1, 0, config.vocabulary()));
            }
        }
        states("infer.kv_final.", inference.state());
    }

    private void padded() {
        Batch batch = batch(golden.mask());
        Tensor training = put("padded.logits", sequences, tokens, config.vocabulary());
        trained.forward(batch, null, Trace.NONE);
        logits(trained, training.reshape(all(), config.vocabulary()));
        DecodeState state = new DecodeState(used, backend.memory(), sequences);
        Tensor prefill = put("padded.infer_logits", sequences, tokens, config.vocabulary());
        used.forward(batch, state, Trace.NONE);
        logits(used, prefill.reshape(all(), config.vocabulary()));
    }

    private void states(String name, DecodeState state) {
        for (int layer = 0; layer < config.layers(); layer++) {
            put(name + layer, state.layer(layer).shape()).copyFrom(state.layer(layer));
        }
    }

    /** Logits of the first rows of a model's last forward, as many as {@code target} (n, V) has. */
    private void logits(TransNormer model, Tensor target) {
        long n = target.dim(0);
        for (long from = 0; from < n; from += model.logitsChunk()) {
            long to = Math.min(n, from + model.logitsChunk());
            target.slice(0, from, to).copyFrom(model.logits(n, from, to).slice(1, 0, config.vocabulary()));
        }
    }

    /** Copies an intermediate tensor (tokens, ...) into the golden file's shape. */
    private void keep(String name, Tensor t) {
        long[] shape = t.shape();
        if (shape.length == 2) {
            put(name, sequences, tokens, shape[1]).copyFrom(t.reshape(sequences, tokens, shape[1]));
            return;
        }
        // (T, H, d): the golden files have it by head, (B, H, N, d)
        Tensor byHead = put(name, sequences, shape[1], tokens, shape[2]);
        Tensor byToken = t.reshape(sequences, tokens, shape[1], shape[2]);
        for (int b = 0; b < sequences; b++) {
            for (int h = 0; h < shape[1]; h++) {
                byHead.select(0, b).select(0, h).copyFrom(byToken.select(0, b).select(1, h));
            }
        }
    }

    private long all() {
        return (long) sequences * tokens;
    }

    private Tensor put(String name, long... shape) {
        return outputs.computeIfAbsent(name, n -> memory.allocate(MemoryKind.DATA, n, DType.F64, shape));
    }
}
