package org.transnormer.tensor;

import java.util.ArrayList;
import java.util.List;

/**
 * Scratch memory that all components of a backend share: components run one after another, so each may use all of it.
 * Compositions reserve what their calls will need when they are constructed; the memory is taken at the first use or by
 * {@link #commit()}, whichever is first, and grows only if a call needs more than was reserved.
 */
public final class Workspace {
    private final Memory memory;
    private final List<Tensor> blocks = new ArrayList<>();
    private long reserved;
    private long allocated;

    public Workspace(Memory memory) {
        this.memory = memory;
    }

    /** Announces that a call will need this many bytes. */
    public void reserve(long bytes) {
        reserved = Math.max(reserved, bytes);
    }

    /** Allocates what was reserved. */
    public void commit() {
        if (reserved > allocated) {
            blocks.add(memory.allocate(MemoryKind.WORKSPACE, "workspace", DType.F32, Math.ceilDiv(reserved, 4)));
            allocated = reserved;
        }
    }

    /** At least {@code bytes} of scratch, contents undefined, 64-byte aligned, valid until the next call of get. */
    public Tensor get(long bytes) {
        reserve(bytes);
        commit();
        return blocks.getLast();
    }
}
