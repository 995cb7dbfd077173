package org.transnormer.srmsnorm;

/**
 * RMSNorm with a learned weight w: y = w x̂, x̂ = x (Σ x² / width + ε)^(-1/2), ε = 1e-5. SPEC section 3.1.
 *
 * <p>Statistics: Σ x²; backward sums: Σ x̂ w g, g = gate ⊙ dy.
 *
 * <pre>
 * dx = r (w g - x̂ · Σ_j x̂_j w_j g_j / width)     r = (Σ x² / width + ε)^(-1/2)
 * dw += Σ_t x̂ g,   dgate = w x̂ dy
 * </pre>
 */
public non-sealed interface RmsNorm extends Norm {
    double EPSILON = 1e-5;

    @Override
    default int statistics() {
        return 1;
    }
}
