package org.transnormer.activation;

import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.Tensor;

/** The spec of {@link Activation}: double arithmetic, one rounding on write. SPEC section 3.5. */
public final class ActivationScalar implements Activation {
    private static final double LEAK_SLOPE = 0.01;

    @Override
    public void forward(ActivationFunction f, Tensor x, Tensor y) {
        Arguments.shape("activation", "y", y, x.shape());
        for (long t = 0; t < x.dim(0); t++) {
            for (long h = 0; h < x.dim(1); h++) {
                double shift = shift(f, x, t, h);
                for (long j = 0; j < x.dim(2); j++) {
                    y.set(t, h, j, value(f, x.get(t, h, j) - shift));
                }
            }
        }
    }

    @Override
    public void backward(ActivationFunction f, Tensor x, Tensor dy, Tensor dx) {
        Arguments.shape("activation", "dy", dy, x.shape());
        Arguments.shape("activation", "dx", dx, x.shape());
        for (long t = 0; t < x.dim(0); t++) {
            for (long h = 0; h < x.dim(1); h++) {
                double shift = shift(f, x, t, h);
                for (long j = 0; j < x.dim(2); j++) {
                    dx.set(t, h, j, derivative(f, x.get(t, h, j) - shift) * dy.get(t, h, j));
                }
            }
        }
    }

    /** What EXP subtracts first: the maximum over the last axis, a constant as far as gradients go. */
    private static double shift(ActivationFunction f, Tensor x, long t, long h) {
        if (f != ActivationFunction.EXP) {
            return 0;
        }
        double max = Double.NEGATIVE_INFINITY;
        for (long j = 0; j < x.dim(2); j++) {
            max = Math.max(max, x.get(t, h, j));
        }
        return max;
    }

    static double value(ActivationFunction f, double x) {
        return switch (f) {
            case GELU -> x * normalCdf(x);
            case RELU -> x > 0 ? x : 0;
            case ELU -> elu(x);
            case SIGMOID -> sigmoid(x);
            case EXP -> StrictMath.exp(x);
            case LEAK -> x > 0 ? x : LEAK_SLOPE * x;
            case ONE_PLUS_ELU -> 1 + elu(x);
            case TWO_PLUS_ELU -> 2 + elu(x);
            case SILU -> x * sigmoid(x);
            case SINE -> StrictMath.sin(x);
            case IDENTITY -> x;
        };
    }

    static double derivative(ActivationFunction f, double x) {
        return switch (f) {
            case GELU -> normalCdf(x) + x * StrictMath.exp(-x * x / 2) / StrictMath.sqrt(2 * StrictMath.PI);
            case RELU -> x > 0 ? 1 : 0;
            case ELU, ONE_PLUS_ELU, TWO_PLUS_ELU -> x > 0 ? 1 : StrictMath.exp(x);
            case SIGMOID -> sigmoid(x) * sigmoid(-x);
            case EXP -> StrictMath.exp(x);
            case LEAK -> x > 0 ? 1 : LEAK_SLOPE;
            case SILU -> sigmoid(x) * (1 + x * sigmoid(-x));
            case SINE -> StrictMath.cos(x);
            case IDENTITY -> 1;
        };
    }

    private static double elu(double x) {
        return x > 0 ? x : StrictMath.expm1(x);
    }

    /** 1 / (1 + e^-x), from e^-|x|, which does not overflow. */
    private static double sigmoid(double x) {
        double z = StrictMath.exp(-Math.abs(x));
        return (x < 0 ? z : 1) / (1 + z);
    }

    /** Φ(x), the distribution function of the standard normal. */
    private static double normalCdf(double x) {
        return 0.5 * (1 + Erf.erf(x / StrictMath.sqrt(2)));
    }
}
