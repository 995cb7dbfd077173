package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.nccl.NcclApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import org.transnormer.cuda.bindings.nccl.NcclApi;
import org.transnormer.tensor.DType;

/**
 * One rank of a group of GPUs, NCCL's communicator. All ranks make the same calls in the same order; each only enqueues on
 * a stream.
 */
public final class NcclComm extends Owner {
    /** NCCL_SPLIT_NOCOLOR. */
    private static final int NO_GROUP = -1;

    private final Context context;
    private final MemorySegment handle;
    private final int rank;
    private final int size;
    private volatile boolean aborted;

    private NcclComm(Context context, MemorySegment handle, int rank, int size) {
        super(context);
        this.context = context;
        this.handle = handle;
        this.rank = rank;
        this.size = size;
    }

    /** Joins the group on the context's device; returns when all {@code size} ranks have joined. */
    public static NcclComm join(Context context, NcclId id, int rank, int size) {
        load();
        context.use();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            check("ncclCommInitRank", ncclCommInitRank(out, size, arena.allocateFrom(C_CHAR, id.bytes()), rank),
                    "rank " + rank + " of " + size);
            return new NcclComm(context, out.get(C_POINTER, 0), rank, size);
        }
    }

    /**
     * The group of the ranks that call this with the same number, in the order of their ranks here. All ranks call it,
     * when what they enqueued here is done.
     */
    public NcclComm split(int group) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            check("ncclCommSplit", ncclCommSplit(handle(), group, rank, out, MemorySegment.NULL), "group " + group);
            MemorySegment part = out.get(C_POINTER, 0);
            MemorySegment number = arena.allocate(C_INT);
            check("ncclCommUserRank", ncclCommUserRank(part, number), null);
            int partRank = number.get(C_INT, 0);
            check("ncclCommCount", ncclCommCount(part, number), null);
            return new NcclComm(context, part, partRank, number.get(C_INT, 0));
        }
    }

    /** Returns when all ranks have called it, when what they enqueued here is done; nothing is enqueued. */
    public void meet() {
        try (Arena arena = Arena.ofConfined()) {
            // Who says to be of no group takes part in telling who is of which.
            check("ncclCommSplit", ncclCommSplit(handle(), NO_GROUP, rank, arena.allocate(C_POINTER),
                    MemorySegment.NULL), "no group");
        }
    }

    /** Loads the library unless that was done. */
    static Path load() {
        return CudaLibrary.NCCL.load(NcclApi.class);
    }

    /** Version, such as 22809. */
    public static int version() {
        load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT);
            check("ncclGetVersion", ncclGetVersion(out), null);
            return out.get(C_INT, 0);
        }
    }

    public int rank() {
        return rank;
    }

    public int size() {
        return size;
    }

    /** Calls made in {@code calls} are one: needed where a rank sends and receives. */
    public static void group(Runnable calls) {
        check("ncclGroupStart", ncclGroupStart(), null);
        try {
            calls.run();
        } catch (RuntimeException | Error e) {
            // The group is ended whatever was in it; the first error is the one to show.
            ncclGroupEnd();
            throw e;
        }
        check("ncclGroupEnd", ncclGroupEnd(), null);
    }

    /** to = sum over the ranks of from; both may be the same. */
    public void allReduceSum(Stream stream, DevicePtr from, DevicePtr to, long count, DType dtype) {
        reduce(stream, from, to, count, dtype, ncclSum());
    }

    /** to = maximum over the ranks of from; both may be the same. */
    public void allReduceMax(Stream stream, DevicePtr from, DevicePtr to, long count, DType dtype) {
        reduce(stream, from, to, count, dtype, ncclMax());
    }

    private void reduce(Stream stream, DevicePtr from, DevicePtr to, long count, DType dtype, int operation) {
        checkFits(count, dtype, from);
        checkFits(count, dtype, to);
        check("ncclAllReduce", ncclAllReduce(at(from), at(to), count, type(dtype), operation, handle(),
                stream.handle()), to);
    }

    /** to (count) = this rank's part of the sum over the ranks of from (size x count). */
    public void reduceScatterSum(Stream stream, DevicePtr from, DevicePtr to, long count, DType dtype) {
        checkFits(Math.multiplyExact(count, (long) size), dtype, from);
        checkFits(count, dtype, to);
        check("ncclReduceScatter", ncclReduceScatter(at(from), at(to), count, type(dtype), ncclSum(), handle(),
                stream.handle()), to);
    }

    /** to (size x count) = from (count) of all ranks, in their order. */
    public void allGather(Stream stream, DevicePtr from, DevicePtr to, long count, DType dtype) {
        checkFits(count, dtype, from);
        checkFits(Math.multiplyExact(count, (long) size), dtype, to);
        check("ncclAllGather", ncclAllGather(at(from), at(to), count, type(dtype), handle(), stream.handle()), to);
    }

    /** data of every rank = data of rank {@code root}. */
    public void broadcast(Stream stream, DevicePtr data, long count, DType dtype, int root) {
        checkFits(count, dtype, data);
        check("ncclBroadcast", ncclBroadcast(at(data), at(data), count, type(dtype), root, handle(),
                stream.handle()), data);
    }

    public void send(Stream stream, DevicePtr from, long count, DType dtype, int peer) {
        checkFits(count, dtype, from);
        check("ncclSend", ncclSend(at(from), count, type(dtype), peer, handle(), stream.handle()), from);
    }

    public void receive(Stream stream, DevicePtr to, long count, DType dtype, int peer) {
        checkFits(count, dtype, to);
        check("ncclRecv", ncclRecv(at(to), count, type(dtype), peer, handle(), stream.handle()), to);
    }

    /** Throws what went wrong since, on this rank or on the way to another. */
    public void checkAsynchronous() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT);
            check("ncclCommGetAsyncError", ncclCommGetAsyncError(handle(), out), null);
            int code = out.get(C_INT, 0);
            if (code != ncclInProgress()) {
                check("collective", code, null);
            }
        }
    }

    /**
     * Gives up a group of which another rank is gone: calls under way end, later ones are refused. Another thread may call
     * it while the owner waits for the stream.
     */
    public void abort() {
        MemorySegment comm = handle();
        aborted = true;
        check("ncclCommAbort", ncclCommAbort(comm), null);
    }

    private MemorySegment handle() {
        if (aborted) {
            throw new IllegalStateException("NcclComm was aborted");
        }
        return open(handle);
    }

    @Override
    void release() {
        if (!aborted) {
            check("ncclCommDestroy", ncclCommDestroy(handle), null);
        }
    }

    private static void checkFits(long count, DType dtype, DevicePtr where) {
        if (count < 0 || Math.multiplyExact(count, (long) dtype.bytes()) > where.bytes()) {
            throw new IllegalArgumentException("%d elements of %s do not fit %s".formatted(count, dtype, where));
        }
    }

    private static MemorySegment at(DevicePtr pointer) {
        return MemorySegment.ofAddress(pointer.address());
    }

    private static int type(DType dtype) {
        return switch (dtype) {
            case F64 -> ncclFloat64();
            case F32 -> ncclFloat32();
            case BF16 -> ncclBfloat16();
            case F16 -> ncclFloat16();
            case I32 -> ncclInt32();
        };
    }

    static void check(String api, int code, Object detail) {
        if (Trace.ON) {
            Trace.call(api, detail, code);
        }
        if (code != ncclSuccess()) {
            throw new CudaException(detail == null ? api : api + "(" + detail + ")", code, name(code),
                    ncclGetErrorString(code).getString(0) + lastError(), cure(code));
        }
    }

    private static String cure(int code) {
        if (code == ncclRemoteError()) {
            return "another rank has ended or cannot be reached: look at what it said last";
        }
        if (code == ncclInvalidUsage()) {
            return "every rank needs a GPU of its own, and the same calls in the same order; NCCL_DEBUG=WARN says more";
        }
        return "NCCL_DEBUG=INFO makes NCCL say more";
    }

    private static String lastError() {
        String text = ncclGetLastError(MemorySegment.NULL).getString(0).strip();
        return text.isEmpty() ? "" : ": " + text;
    }

    private static String name(int code) {
        return switch (code) {
            case 1 -> "ncclUnhandledCudaError";
            case 2 -> "ncclSystemError";
            case 3 -> "ncclInternalError";
            case 4 -> "ncclInvalidArgument";
            case 5 -> "ncclInvalidUsage";
            case 6 -> "ncclRemoteError";
            case 7 -> "ncclInProgress";
            default -> "ncclResult_t";
        };
    }
}
