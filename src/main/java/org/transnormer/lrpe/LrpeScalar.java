package org.transnormer.lrpe;

import org.transnormer.tensor.Tensor;

/** The spec of {@link Lrpe}: double arithmetic, one rounding on write. SPEC section 3.2. */
public final class LrpeScalar implements Lrpe {

    @Override
    public void forward(Tensor x, Tensor theta, Tensor positions, Tensor y) {
        LrpeArguments.forward(x, theta, positions, y);
        long d = x.dim(2);
        for (long t = 0; t < x.dim(0); t++) {
            for (long h = 0; h < x.dim(1); h++) {
                for (long j = 0; j < d; j++) {
                    double phase = theta.get(h, j) * positions.getInt(t);
                    y.set(t, h, j, x.get(t, h, j) * StrictMath.cos(phase));
                    y.set(t, h, d + j, x.get(t, h, j) * StrictMath.sin(phase));
                }
            }
        }
    }

    @Override
    public void backward(Tensor x, Tensor theta, Tensor positions, Tensor dy, Tensor dx, Tensor dtheta) {
        LrpeArguments.backward(x, theta, positions, dy, dx, dtheta);
        long d = x.dim(2);
        for (long h = 0; h < x.dim(1); h++) {
            for (long j = 0; j < d; j++) {
                double sum = 0;
                for (long t = 0; t < x.dim(0); t++) {
                    int p = positions.getInt(t);
                    double cos = StrictMath.cos(theta.get(h, j) * p);
                    double sin = StrictMath.sin(theta.get(h, j) * p);
                    double da = dy.get(t, h, j);
                    double db = dy.get(t, h, d + j);
                    sum += p * x.get(t, h, j) * (db * cos - da * sin);
                    dx.set(t, h, j, da * cos + db * sin);
                }
                dtheta.set(h, j, dtheta.get(h, j) + sum);
            }
        }
    }
}
