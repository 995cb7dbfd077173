package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.cublaslt.CublasLtApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HexFormat;
import org.transnormer.cuda.bindings.cublaslt.CublasLtApi;
import org.transnormer.cuda.bindings.cublaslt.cublasLtMatmulAlgo_t;
import org.transnormer.cuda.bindings.cublaslt.cublasLtMatmulHeuristicResult_t;
import org.transnormer.tensor.DType;

/**
 * A matrix product of one shape, prepared once; {@link #run} enqueues it and allocates nothing while the addresses stay
 * the same. F32 is computed in F32 (never TF32), BF16 with F32 sums, F64 in F64.
 *
 * <p>The algorithm is the library's first choice for the shape, the device, the library's version and a workspace of
 * fixed size; sums are split only into parts that are joined in a fixed order. So a run is bitwise repeatable on one
 * kind of device with one library.
 *
 * <p>cuBLASLt is column-major. A row-major matrix is the column-major transpose, and D^T = op(B)^T op(A)^T: our B is
 * the library's A and our A its B.
 */
public final class Matmul extends Owner {
    private final CublasLt library;
    private final MatmulShape shape;
    private final Arena arena = Arena.ofShared();
    private MemorySegment descriptor = MemorySegment.NULL;
    private MemorySegment layoutA = MemorySegment.NULL;
    private MemorySegment layoutB = MemorySegment.NULL;
    private MemorySegment layoutC = MemorySegment.NULL;
    private MemorySegment layoutD = MemorySegment.NULL;
    private final MemorySegment algorithm = cublasLtMatmulAlgo_t.allocate(arena);
    /** Of the type that sums have. */
    private final MemorySegment alpha = arena.allocate(C_DOUBLE);
    private final MemorySegment beta = arena.allocate(C_DOUBLE);
    private MemorySegment a = MemorySegment.NULL;
    private MemorySegment b = MemorySegment.NULL;
    private MemorySegment c = MemorySegment.NULL;
    private MemorySegment d = MemorySegment.NULL;

    private Matmul(CublasLt library, MatmulShape shape) {
        super(library.context());
        this.library = library;
        this.shape = shape;
    }

    private void prepare() {
        int type = type(shape.input());
        descriptor = created("cublasLtMatmulDescCreate", out -> cublasLtMatmulDescCreate(out,
                shape.input() == DType.F64 ? CUBLAS_COMPUTE_64F() : CUBLAS_COMPUTE_32F(),
                shape.input() == DType.F64 ? CUDA_R_64F() : CUDA_R_32F()));
        describe(CUBLASLT_MATMUL_DESC_TRANSA(), shape.transposeB() ? CUBLAS_OP_T() : CUBLAS_OP_N());
        describe(CUBLASLT_MATMUL_DESC_TRANSB(), shape.transposeA() ? CUBLAS_OP_T() : CUBLAS_OP_N());
        layoutA = layout(type, shape.transposeA() ? shape.k() : shape.m(), shape.transposeA() ? shape.m() : shape.k(),
                shape.strideA());
        layoutB = layout(type, shape.transposeB() ? shape.n() : shape.k(), shape.transposeB() ? shape.k() : shape.n(),
                shape.strideB());
        layoutC = layout(type(shape.output()), shape.m(), shape.n(), shape.strideC());
        layoutD = layout(type(shape.output()), shape.m(), shape.n(), shape.strideD());
        scale(alpha, 1);
        choose();
    }

    /** Prepares a product; not inside a step. */
    public static Matmul of(CublasLt library, MatmulShape shape) {
        Matmul matmul = new Matmul(library, shape);
        try {
            matmul.prepare();
            return matmul;
        } catch (RuntimeException e) {
            matmul.close();
            throw e;
        }
    }

    public MatmulShape shape() {
        return shape;
    }

    /** The algorithm, as bytes in hexadecimal, for the record of a run. */
    public String algorithm() {
        checkOpen();
        return HexFormat.of().formatHex(algorithm.toArray(C_CHAR));
    }

    /** A function of the library that takes one pointer. */
    private interface Call {
        int with(MemorySegment pointer);
    }

    private static MemorySegment created(String api, Call create) {
        try (Arena temporary = Arena.ofConfined()) {
            MemorySegment out = temporary.allocate(C_POINTER);
            CublasLt.check(api, create.with(out), null);
            return out.get(C_POINTER, 0);
        }
    }

    /** The layout of (rows, columns), row-major. */
    private static MemorySegment layout(int type, long rows, long columns, long stride) {
        return created("cublasLtMatrixLayoutCreate", out -> cublasLtMatrixLayoutCreate(out, type, columns, rows,
                stride));
    }

    private void describe(int attribute, int value) {
        try (Arena temporary = Arena.ofConfined()) {
            CublasLt.check("cublasLtMatmulDescSetAttribute", cublasLtMatmulDescSetAttribute(descriptor, attribute,
                    temporary.allocateFrom(C_INT, value), C_INT.byteSize()), attribute);
        }
    }

    private void choose() {
        MemorySegment preference = created("cublasLtMatmulPreferenceCreate",
                out -> cublasLtMatmulPreferenceCreate(out));
        try (Arena temporary = Arena.ofConfined()) {
            prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES(), temporary.allocateFrom(C_LONG,
                    CublasLt.WORKSPACE));
            prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK(), temporary.allocateFrom(C_INT,
                    CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE()));
            MemorySegment alignment = temporary.allocateFrom(C_INT, shape.alignment());
            prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES(), alignment);
            prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES(), alignment);
            prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES(), alignment);
            prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES(), alignment);
            MemorySegment result = cublasLtMatmulHeuristicResult_t.allocate(temporary);
            MemorySegment count = temporary.allocate(C_INT);
            CublasLt.check("cublasLtMatmulAlgoGetHeuristic", cublasLtMatmulAlgoGetHeuristic(library.handle(),
                    descriptor, layoutB, layoutA, layoutC, layoutD, preference, 1, result, count), shape);
            int state = count.get(C_INT, 0) == 0 ? CUBLAS_STATUS_NOT_SUPPORTED()
                    : cublasLtMatmulHeuristicResult_t.state(result);
            CublasLt.check("cublasLtMatmulAlgoGetHeuristic", state, shape);
            algorithm.copyFrom(cublasLtMatmulHeuristicResult_t.algo(result));
        } finally {
            CublasLt.check("cublasLtMatmulPreferenceDestroy", cublasLtMatmulPreferenceDestroy(preference), null);
        }
    }

    private static void prefer(MemorySegment preference, int attribute, MemorySegment value) {
        CublasLt.check("cublasLtMatmulPreferenceSetAttribute", cublasLtMatmulPreferenceSetAttribute(preference,
                attribute, value, value.byteSize()), attribute);
    }

    /** D = op(A) op(B). */
    public void run(Stream stream, DevicePtr left, DevicePtr right, DevicePtr out) {
        run(stream, left, right, 0, out, out);
    }

    /**
     * D = op(A) op(B) + beta C.
     *
     * @param betaValue where it is 0, C is not read
     * @param added C, which may be D if it has D's stride, and overlaps it in no other way
     */
    public void run(Stream stream, DevicePtr left, DevicePtr right, double betaValue, DevicePtr added, DevicePtr out) {
        checkOpen();
        checkInside("A", left, shape.transposeA() ? shape.k() : shape.m(), shape.transposeA() ? shape.m() : shape.k(),
                shape.strideA(), shape.input());
        checkInside("B", right, shape.transposeB() ? shape.n() : shape.k(), shape.transposeB() ? shape.k() : shape.n(),
                shape.strideB(), shape.input());
        checkInside("C", added, shape.m(), shape.n(), shape.strideC(), shape.output());
        checkInside("D", out, shape.m(), shape.n(), shape.strideD(), shape.output());
        scale(beta, betaValue);
        a = at(a, left);
        b = at(b, right);
        c = at(c, added);
        d = at(d, out);
        CublasLt.check("cublasLtMatmul", cublasLtMatmul(library.handle(), descriptor, alpha, b, layoutB, a, layoutA,
                beta, c, layoutC, d, layoutD, algorithm, library.workspace(), CublasLt.WORKSPACE, stream.handle()),
                shape);
    }

    private void checkInside(String matrix, DevicePtr at, long rows, long columns, long stride, DType dtype) {
        long bytes = ((rows - 1) * stride + columns) * dtype.bytes();
        if (bytes > at.bytes() || at.address() % shape.alignment() != 0) {
            throw new IllegalArgumentException("matmul %s: got %s, want %d bytes aligned to %d".formatted(matrix, at,
                    bytes, shape.alignment()));
        }
    }

    private void scale(MemorySegment to, double value) {
        if (shape.input() == DType.F64) {
            to.set(C_DOUBLE, 0, value);
        } else {
            to.set(C_FLOAT, 0, (float) value);
        }
    }

    private static MemorySegment at(MemorySegment known, DevicePtr pointer) {
        return known.address() == pointer.address() ? known : MemorySegment.ofAddress(pointer.address());
    }

    private static int type(DType dtype) {
        return switch (dtype) {
            case F64 -> CUDA_R_64F();
            case F32 -> CUDA_R_32F();
            case BF16 -> CUDA_R_16BF();
            case F16 -> CUDA_R_16F();
            case I32 -> throw new IllegalArgumentException("matmul: no integers");
        };
    }

    @Override
    void release() {
        destroy("cublasLtMatrixLayoutDestroy", layoutD, CublasLtApi::cublasLtMatrixLayoutDestroy);
        destroy("cublasLtMatrixLayoutDestroy", layoutC, CublasLtApi::cublasLtMatrixLayoutDestroy);
        destroy("cublasLtMatrixLayoutDestroy", layoutB, CublasLtApi::cublasLtMatrixLayoutDestroy);
        destroy("cublasLtMatrixLayoutDestroy", layoutA, CublasLtApi::cublasLtMatrixLayoutDestroy);
        destroy("cublasLtMatmulDescDestroy", descriptor, CublasLtApi::cublasLtMatmulDescDestroy);
        arena.close();
    }

    private static void destroy(String api, MemorySegment handle, Call call) {
        if (handle.address() != 0) {
            CublasLt.check(api, call.with(handle), null);
        }
    }
}
