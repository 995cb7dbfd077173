package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** A point in the work of a stream, to wait for or to measure between. */
public final class Event extends Owner {
    private final MemorySegment handle;

    private Event(Context context, MemorySegment handle) {
        super(context);
        this.handle = handle;
    }

    /** An event to wait for. */
    public static Event of(Context context) {
        return create(context, CU_EVENT_DISABLE_TIMING());
    }

    /** An event that also takes the time. */
    public static Event timed(Context context) {
        return create(context, CU_EVENT_DEFAULT());
    }

    private static Event create(Context context, int flags) {
        context.checkOpen();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            Driver.check("cuEventCreate", cuEventCreate(out, flags));
            return new Event(context, out.get(C_POINTER, 0));
        }
    }

    /** Waits until the stream has come to this point. */
    public void synchronize() {
        Driver.check("cuEventSynchronize", cuEventSynchronize(handle()));
    }

    /** Milliseconds from an earlier event to this one; both are timed and have come to pass. */
    public double millisecondsSince(Event start) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_FLOAT);
            Driver.check("cuEventElapsedTime", cuEventElapsedTime(out, start.handle(), handle()));
            return out.get(C_FLOAT, 0);
        }
    }

    MemorySegment handle() {
        return open(handle);
    }

    @Override
    void release() {
        Driver.check("cuEventDestroy_v2", cuEventDestroy_v2(handle));
    }
}
