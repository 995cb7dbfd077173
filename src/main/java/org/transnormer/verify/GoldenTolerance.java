package org.transnormer.verify;

import java.util.function.LongToDoubleFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.transnormer.backend.Precision;
import org.transnormer.model.ModelConfig;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** How far each tensor of a run may lie from the golden one. SPEC section 6.5 says where the figures come from. */
sealed interface GoldenTolerance {
    /** Rates and slopes have no sums behind them, and the last layer's are 1e-5 of the first's: relative, per element. */
    double RATES = 1e-6;

    /** The tolerance of a run. */
    static GoldenTolerance of(Precision precision, ModelConfig config) {
        return switch (precision.activations()) {
            case F64 -> new Absolute(1e-6, 1e-6, 2e-6, true);
            case F32 -> new Absolute(5e-5, 2e-5, 2e-5, false);
            case BF16, F16, I32 -> new Rounded(precision.activations().unitRoundoff(), config.layers(),
                    switch (config.attentionActivation()) {
                        case RELU, LEAK -> true;
                        default -> false;
                    });
        };
    }

    /** Bound on |got - want| of each element. */
    LongToDoubleFunction allowed(String name, Tensor want);

    /** Bound on RMS(got - want) as a share of the RMS of {@link #allowed}, which is given. */
    double rms(String name, Tensor want, double allowed);

    /** Compares a tensor of a run with the golden one. */
    default Comparison compare(String name, Tensor got, Tensor want) {
        if (name.equals("slope_rate") || name.startsWith(GoldenCase.SLOPES)) {
            return Comparison.of(name, got, want, i -> RATES * Math.abs(want.getFlat(i)), 0.5);
        }
        LongToDoubleFunction allowed = allowed(name, want);
        double sum = 0;
        for (long i = 0; i < want.size(); i++) {
            sum += allowed.applyAsDouble(i) * allowed.applyAsDouble(i);
        }
        return Comparison.of(name, got, want, allowed, rms(name, want, Math.sqrt(sum / want.size())));
    }

    /**
     * Absolute for logits, a share of the tensor's largest entry for gradients and states, and in proportion for the
     * rest.
     *
     * @param stored whether only the rounding of the stored values is to be expected
     */
    record Absolute(double forward, double states, double gradients, boolean stored) implements GoldenTolerance {
        @Override
        public LongToDoubleFunction allowed(String name, Tensor want) {
            if (name.endsWith("logits")) {
                // what F32 storage cannot hold cannot be asked for: it binds from |logit| = 16 on
                return i -> Math.max(forward, 1.001 * DType.F32.unitRoundoff() * Math.abs(want.getFlat(i)));
            }
            double largest = largest(want);
            double bound = isGradient(name) ? gradients * largest
                    : name.startsWith("infer.kv_") ? states * largest : forward * Math.max(1, largest);
            return _ -> bound;
        }

        @Override
        public double rms(String name, Tensor want, double allowed) {
            return stored && allowed > 0 ? 0.1 + DType.F32.unitRoundoff() * GoldenTolerance.rms(want) / allowed : 0.5;
        }
    }

    /**
     * Every tensor is rounded when it is written. Behind n roundings in a row, each off by at most u, a tensor may be off
     * by half of n u of its RMS, and one element by eight times that.
     *
     * @param unitRoundoff u
     * @param kinked whether φ has a derivative that jumps: where a rounding carries an element over the jump, a gradient
     *     loses or gains a whole term
     */
    record Rounded(double unitRoundoff, int layers, boolean kinked) implements GoldenTolerance {
        private static final double SHARE = 0.5;
        private static final double PEAK = 8;
        private static final double KINKED_PEAK = 16;
        /** Tensors written one after the other in a layer: norm, qkvu, φ, LRPE, attention, gate, x, norm, W1, product, x. */
        private static final int PER_LAYER = 11;
        private static final Pattern LAYER = Pattern.compile("\\.layers\\.(\\d+)\\.|infer\\.kv_\\w+\\.(\\d+)");

        @Override
        public LongToDoubleFunction allowed(String name, Tensor want) {
            double rms = GoldenTolerance.rms(want);
            double c = SHARE * (kinked && isGradient(name) ? KINKED_PEAK : PEAK) * roundings(name);
            return i -> c * unitRoundoff * Math.max(rms, Math.abs(want.getFlat(i)));
        }

        @Override
        public double rms(String name, Tensor want, double allowed) {
            return !(allowed > 0) ? 0 : SHARE * roundings(name) * unitRoundoff * GoldenTolerance.rms(want) / allowed;
        }

        /** n: tensors that were written one after the other up to this one. */
        private int roundings(String name) {
            if (name.startsWith(GoldenCase.FUNCTIONS)) {
                return 2;
            }
            Matcher matcher = LAYER.matcher(name);
            boolean inLayer = matcher.find();
            int layer = inLayer ? Integer.parseInt(matcher.group(1) == null ? matcher.group(2) : matcher.group(1)) : 0;
            boolean embedding = name.contains("embed");
            int forward = PER_LAYER * (inLayer ? layer + 1 : embedding ? 0 : layers) + 2;
            if (!isGradient(name)) {
                return forward;
            }
            int back = inLayer ? layers - layer : embedding ? layers : 0;
            return PER_LAYER * (layers + back) + 4;
        }
    }

    private static boolean isGradient(String name) {
        return name.startsWith("grad.") || name.startsWith("act_grad.");
    }

    private static double largest(Tensor t) {
        double largest = 0;
        for (long i = 0; i < t.size(); i++) {
            double x = Math.abs(t.getFlat(i));
            largest = Double.isFinite(x) ? Math.max(x, largest) : largest;
        }
        return largest;
    }

    private static double rms(Tensor t) {
        double sum = 0;
        for (long i = 0; i < t.size(); i++) {
            double x = t.getFlat(i);
            sum += Double.isFinite(x) ? x * x : 0;
        }
        return Math.sqrt(sum / t.size());
    }
}
