package org.transnormer.tensor;

/** Counts what would be allocated; its tensors hold no data. */
public final class PlanMemory implements Memory {
    private final MemoryPlan plan = new MemoryPlan();
    private final long alignment;

    /** The plan of host memory. */
    public PlanMemory() {
        this(HostMemory.ALIGNMENT);
    }

    /** @param alignment to which every tensor is rounded up, in bytes */
    public PlanMemory(long alignment) {
        this.alignment = alignment;
    }

    @Override
    public Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape) {
        long bytes = MemoryPlan.paddedBytes(alignment, dtype, shape);
        plan.add(kind, bytes);
        return Tensor.of(name, dtype, new Storage.Planned(bytes), 0, shape);
    }

    @Override
    public MemoryPlan plan() {
        return plan;
    }

    @Override
    public void close() {
        // nothing is held
    }
}
