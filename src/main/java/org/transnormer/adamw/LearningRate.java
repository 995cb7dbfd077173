package org.transnormer.adamw;

import java.util.List;

/**
 * The learning rate of update t = 1, 2, … (the t of {@link AdamW}), a pure function of t, so that a run resumes from t
 * alone. All but {@link Constant} end at {@code floor} with update {@code steps} and stay there. SPEC section 3.9.
 *
 * <pre>
 * t ≤ warmup: peak · t / warmup        afterwards x = (t - warmup) / (steps - warmup), at most 1, and the record's formula
 * </pre>
 */
public sealed interface LearningRate {
    /** Names that {@link #of} knows. */
    List<String> NAMES = List.of("constant", "linear", "cosine", "wsd");

    /**
     * The rate of update t.
     *
     * @param t from 1
     */
    double at(long t);

    /** peak. */
    record Constant(double peak, long warmup) implements LearningRate {
        public Constant {
            check(peak, peak, warmup, Long.MAX_VALUE);
        }

        @Override
        public double at(long t) {
            return t < warmup ? warm(peak, t, warmup) : peak;
        }
    }

    /** peak + (floor - peak) x. */
    record Linear(double peak, double floor, long warmup, long steps) implements LearningRate {
        public Linear {
            check(peak, floor, warmup, steps);
        }

        @Override
        public double at(long t) {
            return t < warmup ? warm(peak, t, warmup) : peak + (floor - peak) * progress(t, warmup, steps);
        }
    }

    /** floor + (peak - floor) (1 + cos πx) / 2. */
    record Cosine(double peak, double floor, long warmup, long steps) implements LearningRate {
        public Cosine {
            check(peak, floor, warmup, steps);
        }

        @Override
        public double at(long t) {
            return t < warmup ? warm(peak, t, warmup)
                    : floor + (peak - floor) * (1 + StrictMath.cos(Math.PI * progress(t, warmup, steps))) / 2;
        }
    }

    /** peak, then over the last {@code decay} updates straight down to floor. */
    record WarmupStableDecay(double peak, double floor, long warmup, long decay, long steps) implements LearningRate {
        public WarmupStableDecay {
            check(peak, floor, warmup, steps);
            if (decay < 1 || decay > steps - warmup) {
                throw new IllegalArgumentException("the decay takes 1 to %d updates of %d with %d of warm-up, not %d"
                        .formatted(steps - warmup, steps, warmup, decay));
            }
        }

        @Override
        public double at(long t) {
            return t < warmup ? warm(peak, t, warmup)
                    : t <= steps - decay ? peak : peak + (floor - peak) * progress(t, steps - decay, steps);
        }
    }

    /**
     * A schedule by name.
     *
     * @param name one of {@link #NAMES}
     * @param decay for wsd only
     * @throws IllegalArgumentException if there is no such schedule or a value is out of range
     */
    static LearningRate of(String name, double peak, double floor, long warmup, long decay, long steps) {
        return switch (name) {
            case "constant" -> new Constant(peak, warmup);
            case "linear" -> new Linear(peak, floor, warmup, steps);
            case "cosine" -> new Cosine(peak, floor, warmup, steps);
            case "wsd" -> new WarmupStableDecay(peak, floor, warmup, decay, steps);
            default -> throw new IllegalArgumentException("no learning-rate schedule is called %s; there are %s"
                    .formatted(name, String.join(", ", NAMES)));
        };
    }

    private static double warm(double peak, long t, long warmup) {
        return peak * t / warmup;
    }

    private static double progress(long t, long from, long to) {
        return Math.min(1, (double) (t - from) / (to - from));
    }

    private static void check(double peak, double floor, long warmup, long steps) {
        if (!(peak > 0 && peak < Double.POSITIVE_INFINITY && floor >= 0 && floor <= peak)) {
            throw new IllegalArgumentException("a learning rate needs 0 <= floor <= peak: floor %s, peak %s"
                    .formatted(floor, peak));
        }
        if (warmup < 0 || steps <= warmup) {
            throw new IllegalArgumentException("warm-up must end before the last update: warm-up %d, updates %d"
                    .formatted(warmup, steps));
        }
    }
}
