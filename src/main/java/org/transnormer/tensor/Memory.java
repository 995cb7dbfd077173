package org.transnormer.tensor;

/**
 * Allocates tensors and keeps the account of what for. Everything a model or a trainer needs is allocated when it is
 * constructed, so running the same constructors on a {@link PlanMemory} gives the exact memory plan without allocating
 * anything, and a step allocates nothing.
 */
public interface Memory extends AutoCloseable {

    /**
     * A zero-filled contiguous tensor, aligned to 64 bytes, owned by this memory and freed with it.
     *
     * @throws OutOfMemoryException if the memory is not there; the message says what was needed and what was free
     */
    Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape);

    /** What has been allocated so far. */
    MemoryPlan plan();

    /** Frees everything allocated here. Idempotent. */
    @Override
    void close();
}
