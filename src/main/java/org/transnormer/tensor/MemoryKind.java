package org.transnormer.tensor;

/** What memory is used for; the rows of the memory plan. */
public enum MemoryKind {
    WEIGHTS,
    GRADIENTS,
    /** Whole weights and gradients of which a rank keeps only a share. */
    GATHERED,
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
