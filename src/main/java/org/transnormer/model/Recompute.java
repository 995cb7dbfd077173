package org.transnormer.model;

import java.util.Locale;

/**
 * What a layer's backward computes again instead of keeping it from the forward: memory for time. The gradients are the
 * same bits. SPEC section 2.6.
 */
public enum Recompute {
    /** Nothing but norms, gates and features. */
    NONE,
    /** Also the attention output, from the projection that is kept: no product of activations with a matrix. */
    ATTENTION,
    /** Also the up projection of the channel mixer, the largest that is kept. */
    GLU,
    /** Everything: only what enters each layer is kept. */
    FULL;

    /** The name on the command line. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    boolean attention() {
        return this == ATTENTION || this == GLU;
    }

    boolean up() {
        return this == GLU || this == FULL;
    }
}
