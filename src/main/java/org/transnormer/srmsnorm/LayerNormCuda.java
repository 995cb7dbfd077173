package org.transnormer.srmsnorm;

import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * {@link LayerNorm} on a GPU, F32 or BF16 with F32 parameters. Statistics and sums
 * in double, the rest in F32; gradients of parameters are summed over ranges of rows in F32, and over the ranges in
 * double. SPEC section 3.1.
 */
public final class LayerNormCuda implements LayerNorm {
    private final NormKernels kernels;

    public LayerNormCuda(Gpu gpu, Workspace workspace) {
        kernels = new NormKernels(this, NormType.LAYERNORM, EPSILON, gpu, workspace);
    }

    @Override
    public void reserve(long channels) {
        announce(kernels.workspace(), channels);
    }

    /** The same for a plan, of a GPU that need not be there. */
    public static void announce(Workspace workspace, long channels) {
        NormKernels.reserve(workspace, NormType.LAYERNORM, channels);
    }

    @Override
    public void partial(Tensor x, Tensor statistics) {
        kernels.partial(x, statistics);
    }

    @Override
    public void apply(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y) {
        kernels.apply(x, statistics, width, parameters, gate, y);
    }

    @Override
    public void forward(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y) {
        kernels.forward(x, statistics, width, parameters, gate, y);
    }

    @Override
    public void backwardPartial(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor sums) {
        kernels.backwardPartial(x, statistics, width, parameters, gate, dy, sums);
    }

    @Override
    public void backwardApply(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters,
            Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        kernels.backwardApply(x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate, dparameters);
    }

    @Override
    public void backward(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        kernels.backward(x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate, dparameters);
    }
}
