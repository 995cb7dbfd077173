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

    /**
     * The backward, and y = a ⊙ b again, which the gradient of a weight behind it needs: a and b are read once. Of the
     * inputs only dy may be an output.
     */
    default void backwardAndForward(Tensor a, Tensor b, Tensor dy, Tensor da, Tensor db, Tensor y) {
        backward(a, b, dy, da, db);
        forward(a, b, y);
    }
}
