package org.transnormer.product;

import org.transnormer.tensor.Tensor;

/**
 * The elementwise product of the gates: y = a ⊙ b. SPEC section 3.6. Tensors are (T, D) with any row stride; outputs
 * are overwritten and may be inputs of the same call at the same place (da = dy, say).
 */
public interface Product {

    void forward(Tensor a, Tensor b, Tensor y);

    /** da = dy ⊙ b, db = dy ⊙ a. */
    void backward(Tensor a, Tensor b, Tensor dy, Tensor da, Tensor db);
}
