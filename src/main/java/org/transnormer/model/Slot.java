package org.transnormer.model;

import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * Memory for the whole matrices of one block at a time, and for their gradients, where a rank keeps only a share of
 * them. Layer l has slot l mod 2: while one is used, the next one's is filled. SPEC section 7.3.
 */
final class Slot {
    private final Tensor value;
    private final Tensor gradient;
    private ParameterGroup held;

    /** @param like one of the groups that take turns: all have the same layout */
    Slot(int number, Memory memory, ParameterGroup like, boolean training) {
        value = memory.allocate(MemoryKind.GATHERED, "gathered." + number, like.dtype(), like.size());
        gradient = training
                ? memory.allocate(MemoryKind.GATHERED, "gathered.grad." + number, like.gradientType(), like.size())
                : null;
    }

    Tensor value() {
        return value;
    }

    Tensor gradient() {
        return gradient;
    }

    /** Whether these are the present values of a group. */
    boolean holds(ParameterGroup group) {
        return held == group;
    }

    void hold(ParameterGroup group) {
        held = group;
    }

    /** The values of a group have changed. */
    void forget(ParameterGroup group) {
        if (held == group) {
            held = null;
        }
    }
}
