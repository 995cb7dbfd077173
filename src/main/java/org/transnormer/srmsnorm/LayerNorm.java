package org.transnormer.srmsnorm;

import org.transnormer.tensor.Tensor;

/**
 * LayerNorm with weight w and bias b: y = w x̂ + b, x̂ = (x - μ)(σ² + ε)^(-1/2), ε = 1e-5, biased variance. SPEC
 * section 3.1.
 *
 * <p>Statistics: Σ x and Σ x², always F64: σ² = Σ x²/width - μ² cancels, in F32 too much of it where |μ| ≫ σ. Backward
 * sums: Σ w g and Σ x̂ w g, g = gate ⊙ dy, F64 too.
 *
 * <pre>
 * dx = r (w g - (Σ_j w_j g_j + x̂ Σ_j x̂_j w_j g_j) / width)     r = (σ² + ε)^(-1/2)
 * dw += Σ_t x̂ g,   db += Σ_t g,   dgate = (w x̂ + b) dy
 * </pre>
 */
public non-sealed interface LayerNorm extends Norm {
    double EPSILON = 1e-5;

    @Override
    default int statistics() {
        return 2;
    }

    /** μ of row t. */
    static double mean(Tensor statistics, long t, long width) {
        return statistics.get(t, 0) / width;
    }

    /** (σ² + ε)^(-1/2) of row t. Rounding can make Σ x²/width - μ² negative, a variance is not. */
    static double reciprocalDeviation(Tensor statistics, long t, long width) {
        double mean = mean(statistics, t, width);
        return 1 / Math.sqrt(Math.max(0, statistics.get(t, 1) / width - mean * mean) + EPSILON);
    }
}
