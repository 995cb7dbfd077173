package org.transnormer.linear;

import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.LONG;
import static org.transnormer.cuda.ArgumentType.POINTER;

import java.util.LinkedHashMap;
import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.CublasLt;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.cuda.Matmul;
import org.transnormer.cuda.MatmulShape;
import org.transnormer.product.Product;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * CUDA twin: products by cuBLASLt, but of one or two tokens by cuda/linear_few.cu; what is summed over columns by cuda/linear.cu. x, w,
 * residual, y, dy and dx are all F32 or all BF16; b, dw and db are F32.
 *
 * <p>Differs from {@link LinearScalar} in: products are summed in F32, in an order that depends on shapes, alignment,
 * device and version of the library alone; bias, residual and old values are added to the sums before the one rounding.
 * With a bias, and of more than two tokens, bias and residual (F32), or the bias alone (BF16), have been rounded to the type of
 * y before; BF16 with both: so has the product, before it is added to the residual.
 */
public final class LinearCuda implements Linear {
    private static final String STEM = "linear";
    private static final int SUM_THREADS = 256;
    /** Ranges of tokens that the bias gradient is summed over, at most, and tokens of one, at least. */
    private static final long RANGES = 128;
    private static final long RANGE = 64;
    /** Tokens whose product lies in scratch memory at a time. */
    private static final long PIECE = 1024;
    /** Prepared products that are kept; more only where prompts have ever new lengths. */
    private static final int PREPARED = 512;

    private final Gpu gpu;
    private final Workspace workspace;
    private final CublasLt library;
    private final LinkedHashMap<MatmulShape, Matmul> products = new LinkedHashMap<>(PREPARED, 0.75f, true);
    private final LinearCudaFew few;
    private final Launch start32;
    private final Launch start16;
    private final Launch add;
    private final Launch columns32;
    private final Launch columns16;
    private final Launch join;

    public LinearCuda(Gpu gpu, Workspace workspace) {
        this.gpu = gpu;
        this.workspace = workspace;
        library = CublasLt.of(gpu.context(), workspace);
        few = new LinearCudaFew(gpu);
        ArgumentType[] start = {POINTER, POINTER, LONG, POINTER, LONG, LONG};
        start32 = gpu.launch(STEM, "linear_start_f32", start).block(SUM_THREADS);
        start16 = gpu.launch(STEM, "linear_start_bf16", start).block(SUM_THREADS);
        add = gpu.launch(STEM, "linear_add_bf16", POINTER, LONG, POINTER, LONG, POINTER, LONG, LONG).block(SUM_THREADS);
        ArgumentType[] columns = {POINTER, LONG, LONG, LONG, LONG, POINTER};
        columns32 = gpu.launch(STEM, "linear_columns_f32", columns).block(SUM_THREADS);
        columns16 = gpu.launch(STEM, "linear_columns_bf16", columns).block(SUM_THREADS);
        join = gpu.launch(STEM, "linear_join", POINTER, INT, LONG, POINTER, INT).block(SUM_THREADS);
    }

    @Override
    public void forward(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y) {
        DType type = checkForward(x, w, b, residual, y);
        if (y.size() == 0) {
            return;
        }
        if (w.dim(1) == 0) {
            start(b, residual, y);
        } else if (x.dim(0) <= LinearCudaFew.TOKENS) {
            few.plain(x, w, b, residual, y);
        } else if (b != null && residual != null && type == DType.BF16) {
            besideBias(x, w, b, residual, y);
        } else {
            if (b != null) {
                start(b, residual, y);
            }
            multiply(x, false, w, true, b == null ? residual : y, y);
        }
    }

    @Override
    public void normed(NormLayer norm, Tensor x, Tensor statistics, Tensor gate, Tensor normed, Tensor w, Tensor b,
            Tensor residual, Tensor y) {
        if (few.takes(norm, x, w)) {
            LinearArguments.input(x, gate, normed);
            checkForward(x, w, b, residual, y);
            few.norm(norm, x, gate, w, b, residual, y);
        } else {
            Linear.super.normed(norm, x, statistics, gate, normed, w, b, residual, y);
        }
    }

    @Override
    public void product(Product product, Tensor p, Tensor q, Tensor made, Tensor w, Tensor b, Tensor residual,
            Tensor y) {
        if (few.takes(p, w)) {
            LinearArguments.input(p, q, made);
            checkForward(p, w, b, residual, y);
            few.product(p, q, w, b, residual, y);
        } else {
            Linear.super.product(product, p, q, made, w, b, residual, y);
        }
    }

    @Override
    public void backwardInput(Tensor dy, Tensor w, Tensor dx, boolean accumulate) {
        LinearArguments.backwardInput(dy, w, dx);
        DType type = activations("dy", dy);
        require("w", w, type);
        require("dx", dx, type);
        if (w.dim(0) == 0 && !accumulate) {
            start(null, null, dx);
        }
        multiply(dy, false, w, false, accumulate ? dx : null, dx);
    }

    @Override
    public void backwardWeight(Tensor x, Tensor dy, Tensor dw, Tensor db, boolean accumulate) {
        LinearArguments.backwardWeight(x, dy, dw, db);
        require("dy", dy, activations("x", x));
        require("dw", dw, DType.F32);
        require("db", db, DType.F32);
        if (x.dim(0) == 0 && !accumulate) {
            start(null, null, dw);
        }
        multiply(dy, true, x, false, accumulate ? dw : null, dw);
        if (db != null && db.size() > 0) {
            sumColumns(dy, db, accumulate);
        }
    }

    @Override
    public void reserve(long tokens, long in, long out) {
        announce(workspace, tokens, in, out);
    }

    /** The same for a plan, of a GPU that need not be there. */
    public static void announce(Workspace workspace, long tokens, long in, long out) {
        workspace.reserve(ranges(tokens) * out * DType.F32.bytes());
        workspace.reserve(CublasLt.WORKSPACE + Math.min(tokens, PIECE) * out * DType.BF16.bytes());
    }

    /** The type of the activations. */
    static DType checkForward(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y) {
        LinearArguments.forward(x, w, b, residual, y);
        DType type = activations("x", x);
        require("w", w, type);
        require("b", b, DType.F32);
        require("residual", residual, type);
        require("y", y, type);
        return type;
    }

    /**
     * y = residual + (x wᵀ + b), the second rounded first: bias + residual would be a rounding at the size of the residual,
     * and what the library adds to a product on its way out it rounds once more itself for some shapes.
     */
    private void besideBias(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y) {
        long outputs = w.dim(0);
        for (long from = 0; from < x.dim(0); from += PIECE) {
            long to = Math.min(x.dim(0), from + PIECE);
            Tensor product = scratch(to - from, outputs);
            start(b, null, product);
            multiply(x.slice(0, from, to), false, w, true, product, product);
            Tensor out = y.slice(0, from, to);
            Tensor old = residual.slice(0, from, to);
            add.grid(to - from).set(0, DevicePtr.of(old)).set(1, old.stride(0)).set(2, DevicePtr.of(product))
                    .set(3, outputs).set(4, DevicePtr.of(out)).set(5, out.stride(0)).set(6, outputs).on(gpu.stream());
        }
    }

    /** Scratch memory that the library's leaves alone. */
    private Tensor scratch(long tokens, long outputs) {
        Tensor all = workspace.get(CublasLt.WORKSPACE + tokens * outputs * DType.BF16.bytes());
        return Tensor.of("product", DType.BF16, all.storage(),
                all.offset() + CublasLt.WORKSPACE / DType.BF16.bytes(), tokens, outputs);
    }

    /** d = op(a) op(b) + c, without c where it is null; nothing where an axis is empty. */
    private void multiply(Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor c, Tensor d) {
        long k = a.dim(transposeA ? 0 : 1);
        if (k == 0 || d.size() == 0) {
            return;
        }
        Tensor added = c == null ? d : c;
        MatmulShape shape = new MatmulShape(d.dim(0), d.dim(1), k, transposeA, transposeB, rowStride(a), rowStride(b),
                rowStride(added), rowStride(d), a.dtype(), d.dtype(), alignment(a, b, added, d));
        product(shape).run(gpu.stream(), DevicePtr.of(a), DevicePtr.of(b), c == null ? 0 : 1, DevicePtr.of(added),
                DevicePtr.of(d));
    }

    private Matmul product(MatmulShape shape) {
        Matmul matmul = products.get(shape);
        if (matmul == null) {
            if (products.size() == PREPARED) {
                products.pollFirstEntry().getValue().close();
            }
            matmul = Matmul.of(library, shape);
            products.put(shape, matmul);
        }
        return matmul;
    }

    /** Bytes to which all rows of these matrices are aligned, at most the usual. */
    private static int alignment(Tensor a, Tensor b, Tensor c, Tensor d) {
        return (int) Long.lowestOneBit(at(a) | at(b) | at(c) | at(d) | bytes(a) | bytes(b) | bytes(c) | bytes(d)
                | MatmulShape.USUAL_ALIGNMENT);
    }

    /** Of a single row any stride will do: one that keeps the alignment. */
    private static long rowStride(Tensor t) {
        return t.dim(0) == 1 ? Math.ceilDiv(t.dim(1), MatmulShape.USUAL_ALIGNMENT) * MatmulShape.USUAL_ALIGNMENT
                : t.stride(0);
    }

    private static long bytes(Tensor t) {
        return rowStride(t) * t.dtype().bytes();
    }

    private static long at(Tensor t) {
        return DevicePtr.of(t).address();
    }

    /** y = b + residual, as far as they are there. */
    private void start(Tensor b, Tensor residual, Tensor y) {
        if (y.size() > 0) {
            (y.dtype() == DType.F32 ? start32 : start16).grid(y.dim(0)).set(0, b).set(1, residual)
                    .set(2, residual == null ? 0 : residual.stride(0)).set(3, DevicePtr.of(y)).set(4, y.stride(0))
                    .set(5, y.dim(1)).on(gpu.stream());
        }
    }

    private void sumColumns(Tensor dy, Tensor db, boolean accumulate) {
        long tokens = dy.dim(0);
        long columns = dy.dim(1);
        long ranges = ranges(tokens);
        DevicePtr sums = DevicePtr.of(workspace.get(ranges * columns * DType.F32.bytes()));
        boolean wide = dy.dtype() == DType.F32;
        (wide ? columns32 : columns16).grid(Math.ceilDiv(columns, 32 * (wide ? 4 : 8)), ranges, 1)
                .set(0, DevicePtr.of(dy)).set(1, dy.stride(0)).set(2, tokens).set(3, columns)
                .set(4, range(tokens)).set(5, sums).on(gpu.stream());
        join.grid(Math.ceilDiv(columns, SUM_THREADS)).set(0, sums).set(1, (int) ranges).set(2, columns)
                .set(3, DevicePtr.of(db)).set(4, accumulate ? 1 : 0).on(gpu.stream());
    }

    private static long range(long tokens) {
        return Math.max(RANGE, Math.ceilDiv(tokens, RANGES));
    }

    private static long ranges(long tokens) {
        return Math.max(1, Math.ceilDiv(tokens, range(tokens)));
    }

    private static DType activations(String role, Tensor t) {
        if (t.dtype() != DType.F32 && t.dtype() != DType.BF16) {
            throw new IllegalArgumentException("linear: %s is %s, the CUDA twin wants F32 or BF16".formatted(role, t));
        }
        return t.dtype();
    }

    private static void require(String role, Tensor t, DType type) {
        if (t != null && t.dtype() != type) {
            throw new IllegalArgumentException("linear: %s is %s, the CUDA twin wants %s".formatted(role, t, type));
        }
    }
}
