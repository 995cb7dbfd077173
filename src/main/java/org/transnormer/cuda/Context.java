package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * The primary context of a device, which all libraries in this process share. It is current on the thread that opened
 * it; another thread calls {@link #use} first. Closing it closes what was made in it.
 */
public final class Context extends Owner {
    private final Device device;
    private final MemorySegment handle;
    private final List<Owner> owned = new ArrayList<>();

    private Context(Device device, MemorySegment handle) {
        super(null);
        this.device = device;
        this.handle = handle;
    }

    /** Retains the device's primary context and makes it current. */
    public static Context open(Device device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            Driver.check("cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain(out, device.handle()), device.name());
            Context context = new Context(device, out.get(C_POINTER, 0));
            context.use();
            return context;
        }
    }

    public Device device() {
        return device;
    }

    /** Makes the context current on the calling thread. */
    public void use() {
        Driver.check("cuCtxSetCurrent", cuCtxSetCurrent(open(handle)));
    }

    /** Waits until the device has done everything that was enqueued. */
    public void synchronize() {
        checkOpen();
        Driver.check("cuCtxSynchronize", cuCtxSynchronize());
    }

    /** Bytes of device memory that nobody uses. */
    public long freeBytes() {
        checkOpen();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_LONG, 2);
            Driver.check("cuMemGetInfo_v2", cuMemGetInfo_v2(out, out.asSlice(C_LONG.byteSize())));
            return out.get(C_LONG, 0);
        }
    }

    void adopt(Owner owner) {
        checkOpen();
        owned.add(owner);
    }

    void disown(Owner owner) {
        owned.remove(owner);
    }

    @Override
    void release() {
        for (Owner owner : List.copyOf(owned).reversed()) {
            owner.close();
        }
        Driver.check("cuDevicePrimaryCtxRelease_v2", cuDevicePrimaryCtxRelease_v2(device.handle()));
    }
}
