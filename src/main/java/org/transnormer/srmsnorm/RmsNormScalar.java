package org.transnormer.srmsnorm;

import org.transnormer.tensor.Tensor;

/** The spec of {@link RmsNorm}: double arithmetic, one rounding on write. SPEC section 3.1. */
public final class RmsNormScalar implements RmsNorm {

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
        Tensor w = parameters.weight();
        for (long t = 0; t < x.dim(0); t++) {
            double r = 1 / Math.sqrt(statistics.get(t, 0) / width + EPSILON);
            for (long j = 0; j < x.dim(1); j++) {
                double u = gate == null ? 1 : gate.get(t, j);
                y.set(t, j, u * w.get(j) * x.get(t, j) * r);
            }
        }
    }

    @Override
    public void backwardPartial(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor sums) {
        NormArguments.backwardPartial(this, x, statistics, width, parameters, gate, dy, sums);
        Tensor w = parameters.weight();
        for (long t = 0; t < x.dim(0); t++) {
            double r = 1 / Math.sqrt(statistics.get(t, 0) / width + EPSILON);
            double sum = 0;
            for (long j = 0; j < x.dim(1); j++) {
                double u = gate == null ? 1 : gate.get(t, j);
                sum += x.get(t, j) * r * (w.get(j) * u * dy.get(t, j));
            }
            sums.set(t, 0, sum);
        }
    }

    @Override
    public void backwardApply(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters,
            Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        NormArguments.backwardApply(this, x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate,
                dparameters);
        Tensor w = parameters.weight();
        double[] dw = new double[Math.toIntExact(x.dim(1))];
        for (long t = 0; t < x.dim(0); t++) {
            double r = 1 / Math.sqrt(statistics.get(t, 0) / width + EPSILON);
            for (int j = 0; j < x.dim(1); j++) {
                double xHat = x.get(t, j) * r;
                double u = gate == null ? 1 : gate.get(t, j);
                double dNorm = u * dy.get(t, j);
                double dGate = w.get(j) * xHat * dy.get(t, j);
                double rest = residual == null ? 0 : residual.get(t, j);
                dx.set(t, j, rest + r * (w.get(j) * dNorm - xHat * sums.get(t, 0) / width));
                dw[j] += xHat * dNorm;
                if (dgate != null) {
                    dgate.set(t, j, dGate);
                }
            }
        }
        for (int j = 0; j < x.dim(1); j++) {
            dparameters.weight().set(j, dparameters.weight().get(j) + dw[j]);
        }
    }
}
