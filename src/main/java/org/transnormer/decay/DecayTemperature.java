package org.transnormer.decay;

/** Whether the decay weakens from layer to layer. SPEC section 3.10. */
public enum DecayTemperature {
    /** The schedule's factor of the layer: almost no decay in the last layers. */
    BY_LAYER,
    /** Factor 1 in every layer, the paper's ablation without temperature. */
    NONE
}
