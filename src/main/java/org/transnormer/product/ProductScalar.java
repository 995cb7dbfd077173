package org.transnormer.product;

import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.Tensor;

/** The spec of {@link Product}: double arithmetic, one rounding on write. SPEC section 3.6. */
public final class ProductScalar implements Product {

    @Override
    public void forward(Tensor a, Tensor b, Tensor y) {
        Arguments.shape("product", "b", b, a.shape());
        Arguments.shape("product", "y", y, a.shape());
        for (long t = 0; t < a.dim(0); t++) {
            for (long j = 0; j < a.dim(1); j++) {
                y.set(t, j, a.get(t, j) * b.get(t, j));
            }
        }
    }

    @Override
    public void backward(Tensor a, Tensor b, Tensor dy, Tensor da, Tensor db) {
        Arguments.shape("product", "b", b, a.shape());
        Arguments.shape("product", "dy", dy, a.shape());
        Arguments.shape("product", "da", da, a.shape());
        Arguments.shape("product", "db", db, a.shape());
        for (long t = 0; t < a.dim(0); t++) {
            for (long j = 0; j < a.dim(1); j++) {
                // all three are read before either is written: outputs may be inputs
                double g = dy.get(t, j);
                double aGradient = g * b.get(t, j);
                double bGradient = g * a.get(t, j);
                da.set(t, j, aGradient);
                db.set(t, j, bGradient);
            }
        }
    }
}
