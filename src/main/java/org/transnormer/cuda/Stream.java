package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** A queue of work for the device. Every method but {@link #synchronize} only enqueues. */
public final class Stream extends Owner {
    /** Beyond any that a device has; the driver takes the highest that there is. */
    private static final int HIGHEST_PRIORITY = -1000;

    private final Context context;
    private final MemorySegment handle;
    private boolean capturing;

    private Stream(Context context, MemorySegment handle) {
        super(context);
        this.context = context;
        this.handle = handle;
    }

    /** A stream that does not wait for the default one. */
    public static Stream of(Context context) {
        context.checkOpen();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            Driver.check("cuStreamCreate", cuStreamCreate(out, CU_STREAM_NON_BLOCKING()));
            return new Stream(context, out.get(C_POINTER, 0));
        }
    }

    /** The same, whose kernels' blocks go before those of others that wait for a multiprocessor. */
    public static Stream urgent(Context context) {
        context.checkOpen();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            Driver.check("cuStreamCreateWithPriority", cuStreamCreateWithPriority(out, CU_STREAM_NON_BLOCKING(),
                    HIGHEST_PRIORITY));
            return new Stream(context, out.get(C_POINTER, 0));
        }
    }

    public Context context() {
        return context;
    }

    /** Waits until all work enqueued here is done; an error of an earlier kernel shows here. */
    public void synchronize() {
        Driver.check("cuStreamSynchronize", cuStreamSynchronize(handle()));
    }

    /** Whether that is so, without waiting. */
    public boolean isDone() {
        int status = cuStreamQuery(handle());
        if (status != CUDA_ERROR_NOT_READY()) {
            Driver.check("cuStreamQuery", status);
        }
        return status == CUDA_SUCCESS();
    }

    public void record(Event event) {
        Driver.check("cuEventRecord", cuEventRecord(event.handle(), handle()));
    }

    /** Work enqueued later starts after the event. */
    public void await(Event event) {
        Driver.check("cuStreamWaitEvent", cuStreamWaitEvent(handle(), event.handle(), 0));
    }

    /**
     * Writes four bytes when all work enqueued here before is done and can be seen by every GPU of the host.
     *
     * @param at of this device, or of another one that it reaches; a multiple of 4
     */
    public void write(DevicePtr at, int value) {
        Driver.check("cuStreamWriteValue32_v2", cuStreamWriteValue32_v2(handle(), at.address(), value,
                CU_STREAM_WRITE_VALUE_DEFAULT()), at);
    }

    /**
     * Work enqueued later starts when four bytes are at least a value, by the sign of their difference in 32 bits: a
     * counter may wrap.
     *
     * @param at as of {@link #write}
     */
    public void awaitAtLeast(DevicePtr at, int value) {
        Driver.check("cuStreamWaitValue32_v2", cuStreamWaitValue32_v2(handle(), at.address(), value,
                CU_STREAM_WAIT_VALUE_GEQ()), at);
    }

    /** Copies all of a host segment to the start of device memory; from pinned memory, the host does not wait. */
    public void upload(MemorySegment from, DevicePtr to) {
        checkFits(from.byteSize(), to.bytes(), to);
        Driver.check("cuMemcpyHtoDAsync_v2", cuMemcpyHtoDAsync_v2(to.address(), from, from.byteSize(), handle()), to);
    }

    /** Fills a host segment from the start of device memory; into pinned memory, the host does not wait. */
    public void download(DevicePtr from, MemorySegment to) {
        checkFits(to.byteSize(), from.bytes(), from);
        Driver.check("cuMemcpyDtoHAsync_v2", cuMemcpyDtoHAsync_v2(to, from.address(), to.byteSize(), handle()), from);
    }

    /** Copies all of {@code from} to the start of {@code to}. */
    public void copy(DevicePtr from, DevicePtr to) {
        checkFits(from.bytes(), to.bytes(), to);
        Driver.check("cuMemcpyDtoDAsync_v2", cuMemcpyDtoDAsync_v2(to.address(), from.address(), from.bytes(),
                handle()), to);
    }

    /** Sets every byte. */
    public void fill(DevicePtr to, byte value) {
        Driver.check("cuMemsetD8Async", cuMemsetD8Async(to.address(), value, to.bytes(), handle()), to);
    }

    /**
     * Records what {@code work} enqueues here instead of running it. Nothing in it may wait or allocate.
     *
     * @return the work, to be launched as often as wanted
     */
    public Graph capture(Runnable work) {
        Driver.check("cuStreamBeginCapture_v2", cuStreamBeginCapture_v2(handle(),
                CU_STREAM_CAPTURE_MODE_THREAD_LOCAL()));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            capturing = true;
            try {
                work.run();
            } catch (RuntimeException | Error e) {
                // The stream must leave its recording state, whatever was recorded; the first error is the one to show.
                if (cuStreamEndCapture(handle(), out) == CUDA_SUCCESS() && out.get(C_POINTER, 0).address() != 0) {
                    cuGraphDestroy(out.get(C_POINTER, 0));
                }
                throw e;
            } finally {
                capturing = false;
            }
            Driver.check("cuStreamEndCapture", cuStreamEndCapture(handle(), out));
            return Graph.of(context, out.get(C_POINTER, 0));
        }
    }

    /** Whether {@link #capture} records now: what is enqueued runs later, and more than once. */
    public boolean isCapturing() {
        return capturing;
    }

    private static void checkFits(long needed, long there, DevicePtr where) {
        if (needed > there) {
            throw new IllegalArgumentException("%d bytes do not fit device memory %s".formatted(needed, where));
        }
    }

    MemorySegment handle() {
        return open(handle);
    }

    @Override
    void release() {
        Driver.check("cuStreamDestroy_v2", cuStreamDestroy_v2(handle));
    }
}
