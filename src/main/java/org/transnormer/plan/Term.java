package org.transnormer.plan;

import java.util.Locale;

/** What the time of a step goes into; the rows of the plan. */
public enum Term {
    /** Products of activations with matrices. */
    PRODUCTS,
    /** Lightning Attention, and LRPE before it. */
    ATTENTION,
    /** Norms, products of two activations, embedding, loss: what moves memory and computes little. */
    PASSES,
    /** AdamW and the gradient's norm. */
    OPTIMIZER,
    /** Collectives that the computation waits for. */
    EXPOSED;

    /** What a call of a leaf goes into. */
    static Term of(String component) {
        return switch (component) {
            case "Linear" -> PRODUCTS;
            case "FeatureAttention", "LightningAttention", "Lrpe" -> ATTENTION;
            case "AdamW", "GradientNorm" -> OPTIMIZER;
            default -> PASSES;
        };
    }

    /** The name in printed plans. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
