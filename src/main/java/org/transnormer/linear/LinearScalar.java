package org.transnormer.linear;

import org.transnormer.tensor.Tensor;

/** The spec of SPEC section 3.4: any element types, sums in double, one rounding on write. */
public final class LinearScalar implements Linear {

    @Override
    public void forward(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y) {
        LinearArguments.forward(x, w, b, residual, y);
        long T = x.dim(0);
        long I = w.dim(1);
        long O = w.dim(0);
        for (long t = 0; t < T; t++) {
            for (long i = 0; i < O; i++) {
                double sum = 0;
                for (long j = 0; j < I; j++) {
                    sum += x.get(t, j) * w.get(i, j);
                }
                if (b != null) {
                    sum += b.get(i);
                }
                if (residual != null) {
                    sum += residual.get(t, i);
                }
                y.set(t, i, sum);
            }
        }
    }

    @Override
    public void backwardInput(Tensor dy, Tensor w, Tensor dx, boolean accumulate) {
        LinearArguments.backwardInput(dy, w, dx);
        long T = dy.dim(0);
        long I = w.dim(1);
        long O = w.dim(0);
        for (long t = 0; t < T; t++) {
            for (long j = 0; j < I; j++) {
                double sum = accumulate ? dx.get(t, j) : 0;
                for (long i = 0; i < O; i++) {
                    sum += dy.get(t, i) * w.get(i, j);
                }
                dx.set(t, j, sum);
            }
        }
    }

    @Override
    public void backwardWeight(Tensor x, Tensor dy, Tensor dw, Tensor db, boolean accumulate) {
        LinearArguments.backwardWeight(x, dy, dw, db);
        long T = x.dim(0);
        long I = x.dim(1);
        long O = dy.dim(1);
        for (long i = 0; i < O; i++) {
            for (long j = 0; j < I; j++) {
                double sum = accumulate ? dw.get(i, j) : 0;
                for (long t = 0; t < T; t++) {
                    sum += dy.get(t, i) * x.get(t, j);
                }
                dw.set(i, j, sum);
            }
            if (db != null) {
                double sum = accumulate ? db.get(i) : 0;
                for (long t = 0; t < T; t++) {
                    sum += dy.get(t, i);
                }
                db.set(i, sum);
            }
        }
    }
}
