package org.transnormer.tensor;

import java.lang.foreign.MemorySegment;

/** What a tensor's elements live in. The kinds are types of their own, so that they cannot be mixed. */
public sealed interface Storage {

    /** Size in bytes. */
    long bytes();

    /**
     * The host memory.
     *
     * @throws IllegalStateException if this storage has none
     */
    MemorySegment segment();

    /** Off-heap host memory, 64-byte aligned. */
    record Host(MemorySegment segment) implements Storage {
        @Override
        public long bytes() {
            return segment.byteSize();
        }
    }

    /** A size with no memory behind it: what a plan allocates. */
    record Planned(long bytes) implements Storage {
        @Override
        public MemorySegment segment() {
            throw new IllegalStateException("a planned tensor holds no data");
        }
    }
}
