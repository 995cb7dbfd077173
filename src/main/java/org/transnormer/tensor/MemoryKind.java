package org.transnormer.tensor;

/** What memory is used for; the rows of the memory plan. */
public enum MemoryKind {
    WEIGHTS,
    GRADIENTS,
    OPTIMIZER,
    ACTIVATIONS,
    STATES,
    LOGITS,
    WORKSPACE,
    DATA;

    /** The name in printed plans. */
    public String label() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
