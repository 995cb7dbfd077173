package org.transnormer.lrpe;

import org.transnormer.tensor.Tensor;

/**
 * LRPE, the learned position weighting: each channel is doubled into a cosine and a sine half. SPEC section 3.2.
 *
 * <pre>
 * y_[t,h] = [ x_thj cos(θ_hj p_t) ]_j  ‖  [ x_thj sin(θ_hj p_t) ]_j        cosine half first
 * </pre>
 *
 * so that ⟨y_t, y'_s⟩ = Σ_j x_tj x'_sj cos(θ_j (p_t - p_s)): it is not RoPE. The phase θ·p is formed in double (or two
 * floats) and reduced modulo 2π before the sine: plain F32 is wrong by 4e-3 at p = 131,072.
 *
 * <p>Shapes: x (T, H, d) with any strides on T and H; θ (H, d), F32 or F64; positions (T) I32; y (T, H, 2d).
 */
public interface Lrpe {

    /** Announces the largest call that will come, so that its scratch memory can be planned. */
    default void reserve(long tokens, int heads, int channels) {
        // a twin without scratch memory has nothing to announce
    }

    void forward(Tensor x, Tensor theta, Tensor positions, Tensor y);

    /**
     * dx_j = da_j cos φ_j + db_j sin φ_j, overwritten; dθ_j += Σ_t p_t x_j (db_j cos φ_j - da_j sin φ_j), with dy =
     * da ‖ db.
     *
     * @param dtheta (H, d), added to
     */
    void backward(Tensor x, Tensor theta, Tensor positions, Tensor dy, Tensor dx, Tensor dtheta);
}
