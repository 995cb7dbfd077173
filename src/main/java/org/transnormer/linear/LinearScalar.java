package org.transnormer.linear;

import java.util.Arrays;
import org.transnormer.tensor.Independent;
import org.transnormer.tensor.Tensor;

/**
 * The spec of SPEC section 3.4: any element types, sums in double, one rounding on write. Each sum's terms are added one
 * by one in the order of their index; rows are read once, and threads share the rows of outputs.
 */
public final class LinearScalar implements Linear {

    @Override
    public void forward(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y) {
        LinearArguments.forward(x, w, b, residual, y);
        double[][] xs = rows(x);
        int I = Math.toIntExact(w.dim(1));
        long O = w.dim(0);
        Independent.share(O, x.size(), (from, to) -> {
            double[] wi = new double[I];
            for (long i = from; i < to; i++) {
                read(w, i, wi);
                for (int t = 0; t < xs.length; t++) {
                    double[] xt = xs[t];
                    double sum = 0;
                    for (int j = 0; j < I; j++) {
                        sum += xt[j] * wi[j];
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
        });
    }

    @Override
    public void backwardInput(Tensor dy, Tensor w, Tensor dx, boolean accumulate) {
        LinearArguments.backwardInput(dy, w, dx);
        long T = dy.dim(0);
        int I = Math.toIntExact(w.dim(1));
        long O = w.dim(0);
        Independent.share(T, w.size(), (from, to) -> {
            double[] sum = new double[I];
            double[] wi = new double[I];
            for (long t = from; t < to; t++) {
                begin(dx, t, accumulate, sum);
                for (long i = 0; i < O; i++) {
                    double dyti = dy.get(t, i);
                    read(w, i, wi);
                    for (int j = 0; j < I; j++) {
                        sum[j] += dyti * wi[j];
                    }
                }
                for (int j = 0; j < I; j++) {
                    dx.set(t, j, sum[j]);
                }
            }
        });
    }

    @Override
    public void backwardWeight(Tensor x, Tensor dy, Tensor dw, Tensor db, boolean accumulate) {
        LinearArguments.backwardWeight(x, dy, dw, db);
        double[][] xs = rows(x);
        int I = Math.toIntExact(x.dim(1));
        long O = dy.dim(1);
        Independent.share(O, x.size(), (from, to) -> {
            double[] sum = new double[I];
            for (long i = from; i < to; i++) {
                begin(dw, i, accumulate, sum);
                for (int t = 0; t < xs.length; t++) {
                    double dyti = dy.get(t, i);
                    double[] xt = xs[t];
                    for (int j = 0; j < I; j++) {
                        sum[j] += dyti * xt[j];
                    }
                }
                for (int j = 0; j < I; j++) {
                    dw.set(i, j, sum[j]);
                }
                if (db != null) {
                    double bias = accumulate ? db.get(i) : 0;
                    for (int t = 0; t < xs.length; t++) {
                        bias += dy.get(t, i);
                    }
                    db.set(i, bias);
                }
            }
        });
    }

    /** Sums begin with what is in their row, or with nothing. */
    private static void begin(Tensor outputs, long row, boolean accumulate, double[] sum) {
        if (accumulate) {
            read(outputs, row, sum);
        } else {
            Arrays.fill(sum, 0);
        }
    }

    private static double[][] rows(Tensor x) {
        double[][] rows = new double[Math.toIntExact(x.dim(0))][Math.toIntExact(x.dim(1))];
        for (int t = 0; t < rows.length; t++) {
            read(x, t, rows[t]);
        }
        return rows;
    }

    private static void read(Tensor x, long t, double[] row) {
        x.select(0, t).getFlat(0, row, row.length);
    }
}
