package org.transnormer.verify;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleUnaryOperator;
import java.util.function.LongPredicate;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.backend.Precision;
import org.transnormer.lightning.Sequences;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.model.Batch;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.model.TransNormer;
import org.transnormer.model.TransNormer.Mode;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * Checks the backward of whole models, in F64 by the scalar spec: for every parameter tensor, some random directions and
 * some entries against finite differences of the loss. SPEC section 1.5.
 */
public final class GradCheck {
    private static final int DIRECTIONS = 2;
    private static final int ENTRIES = 3;
    private static final int VOCABULARY = 13;
    private static final int PADDING = 5;
    /**
     * A whole model curves more than a component, so h is smaller; and where a kink of the activation lies within the
     * stencil, only a smaller h still tells the derivative. A wrong gradient agrees at none.
     */
    private static final double[] STEPS = {1e-4, 1e-5, 1e-6};
    /** A gradient that is zero has no scale of its own; then the model's largest gives one. */
    private static final double SMALLEST_SHARE = 1e-4;
    private static final Map<String, ?> BASE = Map.of("vocab_size", VOCABULARY, "decoder_embed_dim", 8,
            "decoder_layers", 2, "decoder_attention_heads", 2, "hidden_dim", 8, "glu_dim", 6, "linear_use_lrpe_list",
            List.of(1, 0));
    private static final String TIED = "tie_word_embeddings";
    private static final String EXTENSION = "tnl";

    /**
     * A model and how it is fed.
     *
     * @param name for people
     * @param lengths of the packed sequences
     * @param masked whether some values are masked
     */
    public record Variant(String name, ModelConfig config, List<Integer> lengths, boolean masked) {
    }

    /**
     * One derivative.
     *
     * @param tensor the parameter
     * @param what the entry or direction
     * @param analytic from the backward
     * @param numeric finite difference
     * @param scale largest entry of the tensor's gradient
     */
    public record Check(String tensor, String what, double analytic, double numeric, double scale) {
        /** Share of the tensor's largest gradient. */
        public double error() {
            return Math.abs(analytic - numeric) / scale;
        }

        /** False too if anything is not a number. */
        public boolean ok() {
            return error() <= FiniteDifference.TOLERANCE;
        }
    }

    private final ModelConfig config;
    private final Weights weights;
    private final TransNormer model;
    private final Batch batch;
    private final RandomStream random;
    private final RandomStream.Normals normals;
    private long drawn;

    private GradCheck(Variant variant, Backend backend, long seed) {
        config = variant.config();
        random = new RandomStream(seed, Purpose.SYNTHETIC, variant.name());
        normals = random.new Normals();
        int tokens = variant.lengths().stream().mapToInt(x -> x).sum();
        weights = new Weights(config, Precision.F64, backend.memory(), true);
        model = new TransNormer(backend, Communicator.single(), config, weights, Mode.TRAINING, tokens);
        batch = new Batch(backend.memory(), DType.F64, variant.lengths().size(), tokens);
        backend.commit();
        weights.parameters().forEach(this::fill);
        variant.lengths().forEach(n -> batch.sequences().add(n, 0, Sequences.NO_SLOT));
        for (int t = 0; t < tokens; t++) {
            batch.idBuffer().setInt(t, t == 1 ? PADDING : token());
            batch.targetBuffer().setInt(t, t % 5 == 3 ? CrossEntropy.IGNORE : token());
            if (variant.masked()) {
                batch.maskBuffer().setInt(t, t % 3 == 1 ? 0 : 1);
            }
        }
        batch.scale().set(0, 1.0 / tokens);
    }

    /** What {@code tnl gradcheck} checks: each option of a model at least once. */
    public static List<Variant> variants() {
        List<Variant> variants = new ArrayList<>();
        variants.add(variant("base", Map.of()));
        variants.add(new Variant("one sequence", config(Map.of()), List.of(9), false));
        variants.add(new Variant("value mask", config(Map.of()), List.of(5, 4), true));
        for (ActivationFunction f : ActivationFunction.values()) {
            String name = f.releasedName();
            variants.add(variant("activation " + name, f == ActivationFunction.EXP
                    ? Map.of("linear_act_fun", name, "decoder_layers", 1) : Map.of("linear_act_fun", name)));
        }
        variants.add(variant("glu silu", Map.of(EXTENSION, Map.of("glu_activation", "SILU"))));
        variants.add(variant("glu gelu", Map.of(EXTENSION, Map.of("glu_activation", "GELU"))));
        variants.add(variant("rmsnorm", Map.of(EXTENSION, Map.of("norm", "RMSNORM"))));
        variants.add(variant("layernorm", Map.of("norm_type", "layernorm")));
        variants.add(variant("layernorm, bias, tied", Map.of("norm_type", "layernorm", "bias", true, TIED, true)));
        variants.add(variant("bias", Map.of("bias", true)));
        variants.add(variant("tied", Map.of(TIED, true)));
        variants.add(variant("padding token", Map.of("pad_token_id", PADDING)));
        variants.add(variant("padding token, tied", Map.of("pad_token_id", PADDING, TIED, true)));
        variants.add(variant("no gate", Map.of(EXTENSION, Map.of("gate", "NONE"))));
        variants.add(variant("no embedding scale", Map.of("no_scale_embedding", true)));
        variants.add(variant("decay only", Map.of("linear_use_lrpe_list", List.of(0, 0), EXTENSION,
                Map.of("position", "DECAY"))));
        variants.add(variant("lrpe only", Map.of(EXTENSION, Map.of("position", "LRPE"))));
        variants.add(variant("absolute positions", Map.of("linear_use_lrpe_list", List.of(0, 0), EXTENSION,
                Map.of("position", "ABSOLUTE", "max_position_embeddings", 6))));
        variants.add(variant("absolute positions, tied", Map.of("linear_use_lrpe_list", List.of(0, 0), TIED, true,
                EXTENSION, Map.of("position", "ABSOLUTE", "max_position_embeddings", 5))));
        variants.add(variant("lrpe everywhere", Map.of("linear_use_lrpe_list", List.of(1, 1))));
        variants.add(variant("paper's decay", Map.of(EXTENSION, Map.of("decay", "PAPER"))));
        variants.add(variant("no temperature", Map.of(EXTENSION, Map.of("decay_temperature", "NONE"))));
        variants.add(variant("3 heads of 4, d 8", Map.of("decoder_attention_heads", 3, "hidden_dim", 12,
                "linear_use_lrpe_list", List.of(0, 0))));
        variants.add(variant("1 head", Map.of("decoder_attention_heads", 1)));
        return List.copyOf(variants);
    }

    /**
     * Checks one model; weights, tokens and directions are a function of variant and seed.
     *
     * @param backend in F64, not yet committed; closed by the caller
     */
    public static List<Check> run(Variant variant, long seed, Backend backend) {
        return new GradCheck(variant, backend, seed).run();
    }

    private static Variant variant(String name, Map<String, ?> changes) {
        return new Variant(name, config(changes), List.of(5, 1, 4), false);
    }

    private static ModelConfig config(Map<String, ?> changes) {
        Map<String, Object> keys = new LinkedHashMap<>(BASE);
        keys.put("pad_token_id", null);
        keys.putAll(changes);
        return ReleasedConfig.parse(keys, keys.containsKey(TIED));
    }

    private List<Check> run() {
        loss();
        model.backward(batch, false, Trace.NONE);
        double largest = weights.parameters().stream().mapToDouble(p -> largest(gradient(p))).max().orElseThrow();
        List<Check> checks = new ArrayList<>();
        for (Parameter p : weights.parameters()) {
            check(p, Math.max(largest(gradient(p)), SMALLEST_SHARE * largest), checks);
        }
        return checks;
    }

    private void check(Parameter p, double scale, List<Check> checks) {
        Tensor x = value(p);
        Tensor gradient = gradient(p);
        List<Long> free = free(p, x);
        if (free.isEmpty()) {
            return;
        }
        try (HostMemory memory = new HostMemory()) {
            Tensor direction = memory.allocate(MemoryKind.DATA, "direction", DType.F64, x.shape());
            for (int d = 0; d < DIRECTIONS; d++) {
                double analytic = 0;
                for (long i : free) {
                    double along = normals.at(drawn++) / Math.sqrt(free.size());
                    direction.setFlat(i, along);
                    analytic += along * gradient.getFlat(i);
                }
                checks.add(check(p.name(), "direction " + d, analytic,
                        step -> FiniteDifference.directional(this::loss, x, direction, step), scale));
            }
        }
        for (int e = 0; e < ENTRIES; e++) {
            long i = free.get((int) (random.uniform(drawn++) * free.size()));
            checks.add(check(p.name(), "entry " + i, gradient.getFlat(i),
                    step -> FiniteDifference.derivative(this::loss, x, i, step), scale));
        }
    }

    private static Check check(String tensor, String what, double analytic, DoubleUnaryOperator numeric, double scale) {
        Check best = null;
        for (double step : STEPS) {
            Check check = new Check(tensor, what, analytic, numeric.applyAsDouble(step), scale);
            best = best == null || check.error() < best.error() ? check : best;
            if (best.ok()) {
                break;
            }
        }
        return best;
    }

    /**
     * The entries whose gradient is the derivative of the loss. Two are something else by design: the padding token's
     * embedding gets none from the embedding, and the exp activation passes none through the maximum that it subtracts,
     * so all that comes before it is left out (its model has one layer).
     */
    private List<Long> free(Parameter p, Tensor x) {
        boolean exp = config.attentionActivation() == ActivationFunction.EXP;
        long row = x.rank() == 1 ? 1 : x.dim(1);
        LongPredicate free = _ -> true;
        if (exp && (p == weights.embedding() || p.name().contains(".token_norm."))) {
            return List.of();
        } else if (exp && p.name().contains(".qkvu_proj.")) {
            free = i -> i / row >= 2L * config.hidden();
        } else if (p == weights.embedding() && config.padding() >= 0) {
            free = i -> i / row != config.padding();
        }
        List<Long> entries = new ArrayList<>();
        for (long i = 0; i < x.size(); i++) {
            if (free.test(i)) {
                entries.add(i);
            }
        }
        return entries;
    }

    private double loss() {
        model.forward(batch, null, Trace.NONE);
        Tensor losses = model.losses(batch);
        double sum = 0;
        for (long t = 0; t < batch.tokens(); t++) {
            sum += losses.get(t);
        }
        return sum * batch.scale().get(0);
    }

    /** Scales at which every part of the model counts; the trained parameters are no special values. */
    private void fill(Parameter p) {
        Tensor x = value(p);
        for (long i = 0; i < x.size(); i++) {
            double normal = normals.at(drawn++);
            x.setFlat(i, switch (p.initialisation()) {
                case NORMAL, EMBEDDING -> 0.4 * normal;
                case ZERO -> 0.3 * normal;
                case ONE -> 1 + 0.3 * normal;
                case THETA -> 0.5 + 0.5 * normal;
            });
        }
    }

    private int token() {
        return (int) (random.uniform(drawn++) * VOCABULARY);
    }

    private static Tensor value(Parameter p) {
        return p.exported(p.group().value());
    }

    private static Tensor gradient(Parameter p) {
        return p.exported(p.group().gradient());
    }

    private static double largest(Tensor t) {
        double largest = 0;
        for (long i = 0; i < t.size(); i++) {
            largest = Math.max(largest, Math.abs(t.getFlat(i)));
        }
        return largest;
    }
}
