package org.transnormer.decay;

/**
 * Decay rates r ≥ 0 of the heads of a layer: a key s tokens back counts e^(-r s). Not learned. The paper and the
 * released models differ, so every variant has its name. SPEC section 3.10.
 *
 * <pre>
 * r(h, l) = base(h) · factor(l)        heads h = 0 … H-1, layers l = 0 … L-1
 * </pre>
 */
public enum DecaySchedule {
    /**
     * The released models: the slopes of ALiBi, times 1 - l/(L-1) + 1e-5 (a single layer: 1 + 1e-5). Head 0 decays
     * fastest where H is a power of two; otherwise the slopes of the next smaller power of two come first, then every
     * second one of twice as many heads.
     */
    RELEASED {
        @Override
        double base(int head, int heads) {
            int power = Integer.highestOneBit(heads);
            return head < power ? slope(head, power) : slope(2 * (head - power), 2 * power);
        }

        @Override
        double factor(int layer, int layers) {
            return layers == 1 ? 1 + RESIDUE : 1 - (double) layer / (layers - 1) + RESIDUE;
        }
    },

    /**
     * Equation 10 of the paper, 8h/H · (1 - l/L), which leaves the ranges of h and l open: both count from 0 here, as
     * in flash-linear-attention, so head 0 does not decay. Not compatible with released weights.
     */
    PAPER {
        @Override
        double base(int head, int heads) {
            return 8.0 * head / heads;
        }

        @Override
        double factor(int layer, int layers) {
            return 1 - (double) layer / layers;
        }
    },

    /** All rates 0: the paper's ablation with LRPE only. */
    NONE {
        @Override
        double base(int head, int heads) {
            return 0;
        }

        @Override
        double factor(int layer, int layers) {
            return 1;
        }
    };

    /** Keeps the last layer's rate off zero. */
    private static final double RESIDUE = 1e-5;

    /** 2^(-8 (head + 1) / heads). */
    private static double slope(int head, int heads) {
        return StrictMath.pow(2, -8.0 * (head + 1) / heads);
    }

    abstract double base(int head, int heads);

    abstract double factor(int layer, int layers);

    /**
     * The rates of one layer, one per head of the whole model (a rank that holds some heads takes its slice).
     *
     * @throws IllegalArgumentException unless heads ≥ 1 and 0 ≤ layer &lt; layers
     */
    public double[] rates(DecayTemperature temperature, int heads, int layer, int layers) {
        if (heads < 1 || layer < 0 || layer >= layers) {
            throw new IllegalArgumentException(
                    "decay rates need a head and a layer of the model: heads %d, layer %d of %d"
                            .formatted(heads, layer, layers));
        }
        double factor = switch (temperature) {
            case BY_LAYER -> factor(layer, layers);
            case NONE -> 1;
        };
        double[] rates = new double[heads];
        for (int head = 0; head < heads; head++) {
            rates[head] = base(head, heads) * factor;
        }
        return rates;
    }
}
