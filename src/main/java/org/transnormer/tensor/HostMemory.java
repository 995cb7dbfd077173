package org.transnormer.tensor;

import com.sun.management.OperatingSystemMXBean;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;

/**
 * Off-heap host memory from one shared arena that is closed once, with this object. Large tensors follow each other in
 * regions of huge pages.
 */
public final class HostMemory implements Memory {
    /**
     * One cache line, and the widest vector: an unaligned 512-bit load would touch two lines every time. Tensors are padded
     * to it, so that a vector load at the last element stays inside.
     */
    static final long ALIGNMENT = 64;

    /** From here on tensors lie in regions: smaller ones are few bytes in all. */
    private static final long LARGE = 256 << 10;
    /** Address space taken at a time. */
    private static final long REGION = 1 << 30;

    private final Arena arena = Arena.ofShared();
    private final MemoryPlan plan = new MemoryPlan();
    private MemorySegment region = MemorySegment.NULL;
    private long used;

    /** Physical memory of this machine. */
    public static long machineBytes() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getTotalMemorySize();
    }

    @Override
    public Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape) {
        long bytes = MemoryPlan.paddedBytes(ALIGNMENT, dtype, shape);
        MemorySegment segment;
        try {
            segment = bytes >= LARGE && HugePages.AVAILABLE ? inRegion(bytes) : arena.allocate(bytes, ALIGNMENT);
        } catch (OutOfMemoryError e) {
            throw new OutOfMemoryException("out of memory: %s (%s) needs %,d bytes; %,d bytes are already in use for %s"
                    .formatted(name, kind.label(), bytes, plan.total(), "this model"));
        }
        plan.add(kind, bytes);
        return Tensor.of(name, dtype, new Storage.Host(segment), 0, shape);
    }

    private MemorySegment inRegion(long bytes) {
        if (used + bytes > region.byteSize()) {
            region = HugePages.allocate(arena,
                    Math.max(REGION, Math.ceilDiv(bytes, HugePages.BYTES) * HugePages.BYTES));
            used = 0;
        }
        MemorySegment segment = region.asSlice(used, bytes, ALIGNMENT);
        used += bytes;
        return segment;
    }

    @Override
    public MemoryPlan plan() {
        return plan;
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
