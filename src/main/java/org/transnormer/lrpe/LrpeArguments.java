package org.transnormer.lrpe;

import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** The checks that all twins share. */
final class LrpeArguments {
    private static final String LRPE = "lrpe";

    private LrpeArguments() {
    }

    static void forward(Tensor x, Tensor theta, Tensor positions, Tensor y) {
        inputs(x, theta, positions);
        Arguments.shape(LRPE, "y", y, x.dim(0), x.dim(1), 2 * x.dim(2));
    }

    static void backward(Tensor x, Tensor theta, Tensor positions, Tensor dy, Tensor dx, Tensor dtheta) {
        inputs(x, theta, positions);
        Arguments.shape(LRPE, "dy", dy, x.dim(0), x.dim(1), 2 * x.dim(2));
        Arguments.shape(LRPE, "dx", dx, x.shape());
        Arguments.shape(LRPE, "dtheta", dtheta, x.dim(1), x.dim(2));
    }

    private static void inputs(Tensor x, Tensor theta, Tensor positions) {
        Arguments.shape(LRPE, "theta", theta, x.dim(1), x.dim(2));
        Arguments.shape(LRPE, "positions", positions, x.dim(0));
        if (positions.dtype() != DType.I32) {
            throw new IllegalArgumentException("lrpe: positions is %s, want I32".formatted(positions));
        }
    }
}
