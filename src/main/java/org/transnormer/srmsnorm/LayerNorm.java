package org.transnormer.srmsnorm;

/**
 * LayerNorm with weight w and bias b: y = w x̂ + b, x̂ = (x - μ)(σ² + ε)^(-1/2), ε = 1e-5, biased variance. SPEC
 * section 3.1.
 *
 * <p>Statistics: Σ x and Σ x², always F64: σ² = Σ x²/width - μ² cancels, in F32 too much of it where |μ| ≫ σ. Backward
 * sums: Σ w dy and Σ x̂ w dy, F64 too.
 */
public non-sealed interface LayerNorm extends Norm {
    double EPSILON = 1e-5;

    @Override
    default int statistics() {
        return 2;
    }
}
