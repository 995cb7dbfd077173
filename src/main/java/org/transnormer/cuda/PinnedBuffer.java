package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Host memory that the device reads and writes by itself, at full speed and while the host goes on. */
public final class PinnedBuffer extends Owner {
    private final MemorySegment memory;

    private PinnedBuffer(Context context, MemorySegment memory) {
        super(context);
        this.memory = memory;
    }

    public static PinnedBuffer of(Context context, long bytes) {
        context.checkOpen();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            Driver.check("cuMemHostAlloc", cuMemHostAlloc(out, bytes, 0), bytes);
            return new PinnedBuffer(context, out.get(C_POINTER, 0).reinterpret(bytes));
        }
    }

    /** The memory; not to be touched after this buffer is closed. */
    public MemorySegment segment() {
        return open(memory);
    }

    /** The memory as kernels see it, over the link. */
    public DevicePtr address() {
        return new DevicePtr(segment().address(), memory.byteSize());
    }

    @Override
    void release() {
        Driver.check("cuMemFreeHost", cuMemFreeHost(memory));
    }
}
