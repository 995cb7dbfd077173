package org.transnormer.srmsnorm;

import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.Tensor;

/**
 * {@link SrmsNorm} on a GPU, F32 or BF16. Arithmetic in F32, r in double; sums in the fixed tree of the threads that share a row. In one pass: the row stays in
 * registers. SPEC section 3.1.
 */
public final class SrmsNormCuda implements SrmsNorm {
    private final NormKernels kernels;

    public SrmsNormCuda(Gpu gpu) {
        kernels = new NormKernels(this, NormType.SRMSNORM, EPSILON, gpu, null);
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
