package org.transnormer.tensor;

/**
 * Sees intermediate tensors as a model computes them, under the names of the golden files. A tensor is valid only
 * during the call. SPEC section 6.5.
 */
@FunctionalInterface
public interface Trace {
    /** Records nothing. */
    Trace NONE = (name, tensor) -> {
    };

    void record(String name, Tensor tensor);

    /**
     * Whether to compute by the composed parts, so that every intermediate exists; otherwise fused components skip
     * some.
     */
    default boolean composed() {
        return false;
    }

    /** False if building names would be a waste. */
    default boolean active() {
        return this != NONE;
    }
}
