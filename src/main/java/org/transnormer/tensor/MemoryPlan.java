package org.transnormer.tensor;

import java.util.EnumMap;
import java.util.Map;

/** Bytes by {@link MemoryKind}. */
public final class MemoryPlan {
    private final Map<MemoryKind, Long> bytes = new EnumMap<>(MemoryKind.class);

    /** Bytes of a tensor, rounded up to a multiple of the alignment; an empty one takes that much too. */
    public static long paddedBytes(long alignment, DType dtype, long... shape) {
        long bytes = dtype.bytes();
        for (long n : shape) {
            bytes = Math.multiplyExact(bytes, n);
        }
        return Math.max(alignment, Math.ceilDiv(bytes, alignment) * alignment);
    }

    /** Counts {@code count} bytes more. */
    public void add(MemoryKind kind, long count) {
        bytes.merge(kind, count, Long::sum);
    }

    /** Bytes allocated for one kind. */
    public long bytes(MemoryKind kind) {
        return bytes.getOrDefault(kind, 0L);
    }

    /** Bytes allocated altogether. */
    public long total() {
        return bytes.values().stream().mapToLong(Long::longValue).sum();
    }
}
