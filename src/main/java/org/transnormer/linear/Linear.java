package org.transnormer.linear;

import org.transnormer.product.Product;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.tensor.Tensor;

/**
 * The affine map of every projection, weights as PyTorch keeps them. SPEC section 3.4.
 *
 * <pre>
 * y_ti  = residual_ti + b_i + Σ_j x_tj w_ij
 * dx_tj = Σ_i dy_ti w_ij
 * dw_ij = Σ_t dy_ti x_tj,   db_i = Σ_t dy_ti
 * </pre>
 *
 * <p>Shapes: x (T, I), w (O, I), b (O), y (T, O); rows may be strided (a slice of a wider buffer). Outputs overlap no
 * input, but for {@code residual}. Products accumulate in F32 or wider, over the whole of the summed axis in one fixed
 * order whatever the number of threads.
 */
public interface Linear {

    /**
     * @param b null for no bias
     * @param residual (T, O), added, or null; may be y
     */
    void forward(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y);

    /**
     * The forward of norm(x), or of gate ⊙ norm(x); for inference. SPEC section 3.4.1.
     *
     * @param statistics as of {@link NormLayer#forward}; a twin that does all in one may leave them as they are
     * @param gate (T, I), or null
     * @param normed (T, I), of the type of x: where gate ⊙ norm(x) goes, unless the twin does not write it
     */
    default void normed(NormLayer norm, Tensor x, Tensor statistics, Tensor gate, Tensor normed, Tensor w, Tensor b,
            Tensor residual, Tensor y) {
        norm.forward(x, statistics, gate, normed);
        forward(normed, w, b, residual, y);
    }

    /**
     * The forward of p ⊙ q; for inference. SPEC section 3.4.1.
     *
     * @param p (T, I), as q
     * @param made (T, I), of their type: where p ⊙ q goes, unless the twin does not write it; may be p
     */
    default void product(Product product, Tensor p, Tensor q, Tensor made, Tensor w, Tensor b, Tensor residual,
            Tensor y) {
        product.forward(p, q, made);
        forward(made, w, b, residual, y);
    }

    /**
     * dx = dy · w, or dx += dy · w.
     *
     * @param accumulate whether to add to dx
     */
    void backwardInput(Tensor dy, Tensor w, Tensor dx, boolean accumulate);

    /**
     * dw = dyᵀ · x and db = Σ dy, or added to both.
     *
     * @param db null for no bias
     * @param accumulate whether to add to dw and db
     */
    void backwardWeight(Tensor x, Tensor dy, Tensor dw, Tensor db, boolean accumulate);

    /**
     * Announces calls with up to this many tokens, so that scratch memory is planned and taken before the first step.
     *
     * @param tokens largest T
     * @param in I
     * @param out O
     */
    default void reserve(long tokens, long in, long out) {
        // a twin without scratch memory has nothing to plan
    }
}
