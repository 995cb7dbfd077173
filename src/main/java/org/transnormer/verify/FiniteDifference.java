package org.transnormer.verify;

import java.util.function.DoubleSupplier;
import org.transnormer.tensor.Tensor;

/**
 * Checks a backward against central differences of the forward, in double. The five-point stencil has error O(h⁴), so
 * that with h = 1e-3 truncation and cancellation both stay near 1e-12 of the function's scale. SPEC section 1.5.
 */
public final class FiniteDifference {
    /** Largest allowed |analytic - numeric| as a share of the tensor's largest gradient. */
    public static final double TOLERANCE = 1e-7;
    private static final double STEP = 1e-3;

    private FiniteDifference() {
    }

    /**
     * The derivative of {@code loss} with respect to element {@code i} (row-major) of x, which is restored.
     *
     * @param loss runs the forward on the current contents of x; x is F64
     */
    public static double derivative(DoubleSupplier loss, Tensor x, long i) {
        return derivative(loss, x, i, STEP);
    }

    /** The same with another step h, for a loss that is less smooth. */
    static double derivative(DoubleSupplier loss, Tensor x, long i, double step) {
        double at = x.getFlat(i);
        double h = step * Math.max(1, Math.abs(at));
        double sum = 0;
        for (int k = -2; k <= 2; k++) {
            if (k != 0) {
                x.setFlat(i, at + k * h);
                sum += weight(k) * loss.getAsDouble();
            }
        }
        x.setFlat(i, at);
        return sum / (12 * h);
    }

    /** The derivative along {@code direction} (same shape as x, F64); x is restored. */
    public static double directional(DoubleSupplier loss, Tensor x, Tensor direction) {
        return directional(loss, x, direction, STEP);
    }

    /** The same with another step h, for a loss that is less smooth. */
    static double directional(DoubleSupplier loss, Tensor x, Tensor direction, double step) {
        long size = x.size();
        double[] at = new double[Math.toIntExact(size)];
        for (int i = 0; i < size; i++) {
            at[i] = x.getFlat(i);
        }
        double sum = 0;
        for (int k = -2; k <= 2; k++) {
            if (k != 0) {
                for (int i = 0; i < size; i++) {
                    x.setFlat(i, at[i] + k * step * direction.getFlat(i));
                }
                sum += weight(k) * loss.getAsDouble();
            }
        }
        for (int i = 0; i < size; i++) {
            x.setFlat(i, at[i]);
        }
        return sum / (12 * step);
    }

    /** Compares every entry of {@code gradient} with {@link #derivative}. */
    public static Comparison check(String name, DoubleSupplier loss, Tensor x, Tensor gradient, Tensor scratch) {
        double largest = 0;
        for (long i = 0; i < x.size(); i++) {
            scratch.setFlat(i, derivative(loss, x, i));
            largest = Math.max(largest, Math.abs(gradient.getFlat(i)));
        }
        double bound = TOLERANCE * largest;
        return Comparison.of(name, gradient, scratch, i -> bound, 1);
    }

    private static double weight(int k) {
        return switch (k) {
            case -2 -> 1;
            case -1 -> -8;
            case 1 -> 8;
            default -> -1;
        };
    }
}
