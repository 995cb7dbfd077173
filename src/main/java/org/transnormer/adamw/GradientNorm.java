package org.transnormer.adamw;

import org.transnormer.tensor.Tensor;

/**
 * The global L2 norm of all gradients and the clip factor, in two phases. SPEC section 3.9.
 *
 * <pre>
 * partial: Σ_i g_i² of one tensor, added to total        apply: norm = √total, clip = min(1, limit / (norm + 1e-6))
 * </pre>
 *
 * <p>The caller zeroes total first and adds it over ranks between the phases. A gradient that is not finite makes the
 * norm infinite or NaN, by which it is found.
 */
public interface GradientNorm {
    double EPSILON = 1e-6;

    /** total (1) F64 += Σ g², in a fixed order. */
    void partial(Tensor gradient, Tensor total);

    /**
     * norm (1) F64 = √total and clip (1) F64 = min(1, limit / (norm + 1e-6)).
     *
     * @param limit no clipping where it is 0
     */
    void apply(Tensor total, double limit, Tensor norm, Tensor clip);
}
