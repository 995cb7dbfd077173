package org.transnormer.activation;

import org.transnormer.cuda.Call;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.RowTiles;
import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * {@link Activation} on a GPU, F32 or BF16. Arithmetic in F32 with CUDA's accurate functions, one rounding on write; GELU
 * of F32 in double, as the spec's. SPEC section 3.5.
 */
public final class ActivationCuda implements Activation {
    private static final String STEM = "activation";
    /** Rows of a block where a warp takes a row. */
    private static final int WARPS = 8;
    private final Kernels f32;
    private final Kernels bf16;

    public ActivationCuda(Gpu gpu) {
        f32 = new Kernels(gpu, "f32");
        bf16 = new Kernels(gpu, "bf16");
    }

    private record Kernels(Call forward, Call backward, Call exponential) {
        Kernels(Gpu gpu, String type) {
            this(new Call(gpu, STEM, "activation_forward_" + type, "ihhll"),
                    new Call(gpu, STEM, "activation_backward_" + type, "ihhhll"),
                    new Call(gpu, STEM, "activation_exponential_" + type, "hhhll"));
        }
    }

    @Override
    public void forward(ActivationFunction f, Tensor x, Tensor y) {
        Arguments.f32OrBf16(STEM, "x", x);
        check("y", y, x);
        if (x.size() == 0) {
            return;
        }
        if (f == ActivationFunction.EXP) {
            exponential(x, null, y);
            return;
        }
        boolean joined = adjacent(x) && adjacent(y);
        run(kernels(x).forward().begin().value(f.ordinal()).heads(x).heads(y), x, joined);
    }

    @Override
    public void backward(ActivationFunction f, Tensor x, Tensor dy, Tensor dx) {
        Arguments.f32OrBf16(STEM, "x", x);
        check("dy", dy, x);
        check("dx", dx, x);
        if (x.size() == 0) {
            return;
        }
        if (f == ActivationFunction.EXP) {
            exponential(x, dy, dx);
            return;
        }
        boolean joined = adjacent(x) && adjacent(dy) && adjacent(dx);
        run(kernels(x).backward().begin().value(f.ordinal()).heads(x).heads(dy).heads(dx), x, joined);
    }

    /** @param joined whether a token is one row */
    private static void run(Call call, Tensor x, boolean joined) {
        long heads = joined ? 1 : x.dim(1);
        long columns = joined ? x.dim(1) * x.dim(2) : x.dim(2);
        call.value(x.dim(0)).value(columns);
        RowTiles.cut(call.launch(), x.dim(0), heads, columns, x.dtype());
        call.enqueue();
    }

    /** e^(x - max), times dy unless that is null. */
    private void exponential(Tensor x, Tensor dy, Tensor y) {
        Call call = kernels(x).exponential().begin().heads(x).heads(dy).heads(y).value(x.dim(0)).value(x.dim(2));
        call.launch().grid(Math.ceilDiv(x.dim(0), WARPS), 1, x.dim(1)).block(32, WARPS, 1);
        call.enqueue();
    }

    private Kernels kernels(Tensor x) {
        return x.dtype() == DType.F32 ? f32 : bf16;
    }

    /** Whether the heads of a token lie one after the other, so that a token is one row. */
    private static boolean adjacent(Tensor x) {
        return x.dim(1) == 1 || x.stride(1) == x.dim(2);
    }

    private static void check(String role, Tensor t, Tensor x) {
        Arguments.shape(STEM, role, t, x.shape());
        Arguments.dtype(STEM, role, t, x.dtype());
    }
}
