package org.transnormer.product;

import org.transnormer.cuda.Call;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.RowTiles;
import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * {@link Product} on a GPU, F32 or BF16. One rounding of an exact product, as in the spec: every result equals the spec's
 * bit for bit. SPEC section 3.6.
 */
public final class ProductCuda implements Product {
    private static final String STEM = "product";
    private final Kernels f32;
    private final Kernels bf16;

    public ProductCuda(Gpu gpu) {
        f32 = new Kernels(gpu, "f32");
        bf16 = new Kernels(gpu, "bf16");
    }

    private record Kernels(Call forward, Call backward) {
        Kernels(Gpu gpu, String type) {
            this(new Call(gpu, STEM, "product_forward_" + type, "mmmll").overlapping(),
                    new Call(gpu, STEM, "product_backward_" + type, "mmmmmmll"));
        }
    }

    @Override
    public void forward(Tensor a, Tensor b, Tensor y) {
        Arguments.f32OrBf16(STEM, "a", a);
        check("b", b, a);
        check("y", y, a);
        run(kernels(a).forward().begin().matrix(a).matrix(b).matrix(y), a);
    }

    @Override
    public void backward(Tensor a, Tensor b, Tensor dy, Tensor da, Tensor db) {
        gradients(a, b, dy, da, db, null);
    }

    @Override
    public void backwardAndForward(Tensor a, Tensor b, Tensor dy, Tensor da, Tensor db, Tensor y) {
        check("y", y, a);
        gradients(a, b, dy, da, db, y);
    }

    /** @param y null where it is not asked for */
    private void gradients(Tensor a, Tensor b, Tensor dy, Tensor da, Tensor db, Tensor y) {
        Arguments.f32OrBf16(STEM, "a", a);
        check("b", b, a);
        check("dy", dy, a);
        check("da", da, a);
        check("db", db, a);
        run(kernels(a).backward().begin().matrix(a).matrix(b).matrix(dy).matrix(da).matrix(db).matrix(y), a);
    }

    private static void run(Call call, Tensor a) {
        if (a.size() > 0) {
            call.value(a.dim(0)).value(a.dim(1));
            RowTiles.cut(call.launch(), a.dim(0), 1, a.dim(1), a.dtype());
            call.enqueue();
        }
    }

    private Kernels kernels(Tensor a) {
        return a.dtype() == DType.F32 ? f32 : bf16;
    }

    private static void check(String role, Tensor x, Tensor a) {
        Arguments.shape(STEM, role, x, a.shape());
        Arguments.dtype(STEM, role, x, a.dtype());
    }
}
