package org.transnormer.tensor;

import java.util.EnumMap;
import java.util.Map;

/** Bytes by {@link MemoryKind}. */
public final class MemoryPlan {
    private final Map<MemoryKind, Long> bytes = new EnumMap<>(MemoryKind.class);

    void add(MemoryKind kind, long count) {
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
