package org.transnormer.tensor;

import java.lang.foreign.Arena;
import java.util.Optional;

/**
 * Counts what would be allocated; its tensors hold no data. For a step that is only planned, those of the kind
 * {@link MemoryKind#DATA} do, in host memory: few bytes, which the host itself writes and reads.
 */
public final class PlanMemory implements Memory {
    private final MemoryPlan plan = new MemoryPlan();
    private final long alignment;
    private final Optional<Arena> data;

    /** The plan of host memory. */
    public PlanMemory() {
        this(HostMemory.ALIGNMENT);
    }

    /** @param alignment to which every tensor is rounded up, in bytes */
    public PlanMemory(long alignment) {
        this(alignment, Optional.empty());
    }

    private PlanMemory(long alignment, Optional<Arena> data) {
        this.alignment = alignment;
        this.data = data;
    }

    /** The plan of a memory with this alignment, in which a step can be planned too. */
    public static PlanMemory forSteps(long alignment) {
        return new PlanMemory(alignment, Optional.of(Arena.ofShared()));
    }

    @Override
    public Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape) {
        long bytes = MemoryPlan.paddedBytes(alignment, dtype, shape);
        plan.add(kind, bytes);
        Storage storage = data.isPresent() && kind == MemoryKind.DATA
                ? new Storage.Host(data.get().allocate(bytes, HostMemory.ALIGNMENT))
                : new Storage.Planned(bytes);
        return Tensor.of(name, dtype, storage, 0, shape);
    }

    @Override
    public MemoryPlan plan() {
        return plan;
    }

    @Override
    public void close() {
        data.filter(arena -> arena.scope().isAlive()).ifPresent(Arena::close);
    }
}
