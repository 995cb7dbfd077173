package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.cublaslt.CublasLtApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import org.transnormer.cuda.bindings.cublaslt.CublasLtApi;
import org.transnormer.tensor.Workspace;

/** NVIDIA's matrix products: the library's handle, and scratch memory of a fixed size for all products of a stream. */
public final class CublasLt extends Owner {
    /**
     * Bytes of scratch memory that a product takes, from the beginning of it: what NVIDIA recommends for compute
     * capability 9.0; fixed, since the algorithm depends on it.
     */
    public static final long WORKSPACE = 32L << 20;

    private final Context context;
    private final MemorySegment handle;
    private final Workspace scratch;
    private MemorySegment workspace = MemorySegment.NULL;

    private CublasLt(Context context, MemorySegment handle, Workspace scratch) {
        super(context);
        this.context = context;
        this.handle = handle;
        this.scratch = scratch;
    }

    /** @param scratch where the workspace is, during a product */
    public static CublasLt of(Context context, Workspace scratch) {
        load();
        scratch.reserve(WORKSPACE);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            check("cublasLtCreate", cublasLtCreate(out), null);
            return new CublasLt(context, out.get(C_POINTER, 0), scratch);
        }
    }

    /** Loads the library unless that was done. */
    static Path load() {
        return CudaLibrary.CUBLASLT.load(CublasLtApi.class);
    }

    /** Version, such as 130100. */
    public static long version() {
        load();
        return cublasLtGetVersion();
    }

    Context context() {
        return context;
    }

    MemorySegment handle() {
        return open(handle);
    }

    MemorySegment workspace() {
        long address = DevicePtr.of(scratch.get(WORKSPACE)).address();
        if (workspace.address() != address) {
            workspace = MemorySegment.ofAddress(address);
        }
        return workspace;
    }

    @Override
    void release() {
        check("cublasLtDestroy", cublasLtDestroy(handle), null);
    }

    static void check(String api, int code, Object detail) {
        if (Trace.ON) {
            Trace.call(api, detail, code);
        }
        if (code != CUBLAS_STATUS_SUCCESS()) {
            throw failure(api, code, detail);
        }
    }

    static CudaException failure(String api, int code, Object detail) {
        return new CudaException(detail == null ? api : api + "(" + detail + ")", code,
                cublasLtGetStatusName(code).getString(0), cublasLtGetStatusString(code).getString(0), cure(code));
    }

    private static String cure(int code) {
        if (code == CUBLAS_STATUS_NOT_INITIALIZED() || code == CUBLAS_STATUS_ALLOC_FAILED()) {
            return "the library found no memory: end other processes on the GPU (nvidia-smi lists them)";
        }
        if (code == CUBLAS_STATUS_ARCH_MISMATCH() || code == CUBLAS_STATUS_NOT_SUPPORTED()) {
            return "this library and GPU have no product of this shape: install a newer libcublas";
        }
        return "-Dtnl.trace.cuda shows the calls before this one";
    }
}
