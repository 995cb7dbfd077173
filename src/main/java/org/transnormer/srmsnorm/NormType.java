package org.transnormer.srmsnorm;

/** The norms that a model can be built with. */
public enum NormType {
    SRMSNORM(false, false),
    RMSNORM(true, false),
    LAYERNORM(true, true);

    private final boolean hasWeight;
    private final boolean hasBias;

    NormType(boolean hasWeight, boolean hasBias) {
        this.hasWeight = hasWeight;
        this.hasBias = hasBias;
    }

    public boolean hasWeight() {
        return hasWeight;
    }

    public boolean hasBias() {
        return hasBias;
    }
}
