package org.transnormer.activation;

import java.util.Locale;

/** The activations of the released code, under its names. SPEC section 3.5. */
public enum ActivationFunction {
    /** x Φ(x), with the exact error function. */
    GELU("gelu"),
    RELU("relu"),
    /** x for x > 0, otherwise e^x - 1. */
    ELU("elu"),
    SIGMOID("sigmoid"),
    /** exp(x - max over the last axis), no gradient through the maximum. */
    EXP("exp"),
    /** Leaky ReLU with slope 0.01. */
    LEAK("leak"),
    ONE_PLUS_ELU("1+elu"),
    TWO_PLUS_ELU("2+elu"),
    /** x sigmoid(x); "swish" is the same function. */
    SILU("silu"),
    SINE("sine"),
    /** What the released code takes any other name for; a released config says "none". */
    IDENTITY("none");

    private final String releasedName;

    ActivationFunction(String releasedName) {
        this.releasedName = releasedName;
    }

    /** The name in config.json. */
    public String releasedName() {
        return releasedName;
    }

    /** The function that the released code computes for a name: unknown names are the identity. */
    public static ActivationFunction released(String name) {
        String lower = name.toLowerCase(Locale.ROOT);
        if (!lower.equals(name)) {
            return IDENTITY;
        }
        if (name.equals("swish")) {
            return SILU;
        }
        for (ActivationFunction f : values()) {
            if (f.releasedName.equals(name)) {
                return f;
            }
        }
        return IDENTITY;
    }
}
