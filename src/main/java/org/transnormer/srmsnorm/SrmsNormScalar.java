package org.transnormer.srmsnorm;

import org.transnormer.tensor.Tensor;

/** The spec of {@link SrmsNorm}: double arithmetic, one rounding on write. SPEC section 3.1. */
public final class SrmsNormScalar implements SrmsNorm {

    @Override
    public void partial(Tensor x, Tensor statistics) {
        NormArguments.partial(this, x, statistics);
        for (long t = 0; t < x.dim(0); t++) {
            double sum = 0;
            for (long j = 0; j < x.dim(1); j++) {
                sum += x.get(t, j) * x.get(t, j);
            }
            statistics.set(t, 0, sum);
        }
    }

    @Override
    public void apply(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y) {
        NormArguments.apply(this, x, statistics, width, parameters, gate, y);
        for (long t = 0; t < x.dim(0); t++) {
            double r = 1 / Math.sqrt(statistics.get(t, 0) / width + EPSILON);
            for (long j = 0; j < x.dim(1); j++) {
                double u = gate == null ? 1 : gate.get(t, j);
                y.set(t, j, u * x.get(t, j) * r);
            }
        }
    }

    @Override
    public void backwardPartial(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor sums) {
        NormArguments.backwardPartial(this, x, statistics, width, parameters, gate, dy, sums);
        for (long t = 0; t < x.dim(0); t++) {
            double r = 1 / Math.sqrt(statistics.get(t, 0) / width + EPSILON);
            double sum = 0;
            for (long j = 0; j < x.dim(1); j++) {
                double u = gate == null ? 1 : gate.get(t, j);
                sum += x.get(t, j) * r * (u * dy.get(t, j));
            }
            sums.set(t, 0, sum);
        }
    }

    @Override
    public void backwardApply(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters,
            Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        NormArguments.backwardApply(this, x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate,
                dparameters);
        for (long t = 0; t < x.dim(0); t++) {
            double r = 1 / Math.sqrt(statistics.get(t, 0) / width + EPSILON);
            for (long j = 0; j < x.dim(1); j++) {
                double xHat = x.get(t, j) * r;
                double u = gate == null ? 1 : gate.get(t, j);
                double dNorm = u * dy.get(t, j);
                double dGate = xHat * dy.get(t, j);
                double rest = residual == null ? 0 : residual.get(t, j);
                dx.set(t, j, rest + r * (dNorm - xHat * sums.get(t, 0) / width));
                if (dgate != null) {
                    dgate.set(t, j, dGate);
                }
            }
        }
    }
}
