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

    /** Memory of a device, known to it by an address. */
    sealed interface OnDevice extends Storage {
        Transfer transfer();

        long address();
    }

    /** Memory of a GPU, by its address there, which means nothing to the host. */
    record Device(Transfer transfer, long address, long bytes) implements OnDevice {
        @Override
        public MemorySegment segment() {
            throw new IllegalStateException("device memory is not read by the host: copy it first");
        }
    }

    /**
     * Memory of a GPU with a twin of the same size on the host, for the few values that both sides touch. The host reads
     * and writes its own; {@link Tensor#upload} and {@link Tensor#download} make the two agree.
     */
    record Mirrored(MemorySegment segment, Transfer transfer, long address) implements OnDevice {
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
