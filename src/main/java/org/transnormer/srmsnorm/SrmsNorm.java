package org.transnormer.srmsnorm;

/**
 * SRMSNorm, the norm of TransNormerLLM: no parameters. SPEC section 3.1.
 *
 * <pre>
 * r_t  = (Σ_j x_tj² / width + ε)^(-1/2)        ε = 1e-6, inside the root
 * y_tj = x_tj r_t
 * dx   = r (dy - x̂ · Σ_j x̂_j dy_j / width)     x̂ = x r
 * </pre>
 *
 * Statistics: Σ x²; backward sums: Σ x̂ dy.
 */
public non-sealed interface SrmsNorm extends Norm {
    double EPSILON = 1e-6;

    @Override
    default int statistics() {
        return 1;
    }
}
