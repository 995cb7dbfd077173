package org.transnormer.activation;

import org.transnormer.tensor.Tensor;

/**
 * Elementwise activations. SPEC section 3.5. Tensors are (T, H, d) with any strides on T and H; the last axis is the
 * one that {@link ActivationFunction#EXP} takes its maximum over. y may be x and dx may be dy.
 */
public interface Activation {

    /** y = f(x). */
    void forward(ActivationFunction f, Tensor x, Tensor y);

    /** dx = f'(x) ⊙ dy, from the input x. */
    void backward(ActivationFunction f, Tensor x, Tensor dy, Tensor dx);
}
