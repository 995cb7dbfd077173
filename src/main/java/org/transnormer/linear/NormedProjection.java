package org.transnormer.linear;

import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.tensor.Tensor;

/**
 * A call of {@link Linear#normed} without gate and residual that is still to be made, by itself or by what reads its rows.
 *
 * @param linear makes it by itself
 */
public record NormedProjection(Linear linear, NormLayer norm, Tensor x, Tensor statistics, Tensor normed, Tensor w,
        Tensor b, Tensor y) {

    /** y = norm(x) wᵀ + b. */
    public void run() {
        linear.normed(norm, x, statistics, null, normed, w, b, null, y);
    }
}
