package org.transnormer.lightning;

import org.transnormer.activation.ActivationFunction;
import org.transnormer.linear.NormedProjection;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Lightning Attention between the projection and the output norm: activation, LRPE in the layers that have it, and
 * attention, in one call, so that a twin can read the projection in place and keep nothing between. SPEC section 4.1.
 *
 * <pre>
 * o = LightningAttention(ψ(q), ψ(k), v)          ψ(x) = φ(x), with θ LRPE(φ(x))
 * </pre>
 *
 * Shapes as in {@link LightningAttention}, with these differences: q, k, dq, dk (T, H, d) are the projection's, before φ;
 * θ, dθ (H, d) are null in layers without LRPE; states are (slots, H, dk, dv) with dk = 2d where there is θ, d
 * otherwise. Positions of LRPE are those of the sequences. {@link ComposedAttention} is what every twin computes.
 */
public interface FeatureAttention {

    /** o, and the final states; see {@link LightningAttention#forward}. */
    void forward(Tensor q, Tensor k, Tensor v, ActivationFunction activation, Tensor theta, Tensor rates,
            Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last);

    /**
     * The forward behind the projection that makes q, k and v, for inference where every sequence has one token. SPEC section
     * 4.1.1.
     *
     * @param projection of whose y these are row groups; made here
     */
    default void projected(NormedProjection projection, Tensor q, Tensor k, Tensor v, ActivationFunction activation,
            Tensor theta, Tensor rates, Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last) {
        projection.run();
        forward(q, k, v, activation, theta, rates, sequences, mask, initial, o, last);
    }

    /**
     * Gradients with respect to the projection's q, k and v, and to θ; see {@link LightningAttention#backward}.
     *
     * @param dtheta added to; null where theta is
     */
    void backward(Tensor q, Tensor k, Tensor v, ActivationFunction activation, Tensor theta, Tensor rates,
            Sequences sequences, Tensor mask, Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk,
            Tensor dv, Tensor dtheta, Tensor dinitial);

    /**
     * Announces calls of up to this size, so that scratch memory is planned and allocated before the first of them.
     *
     * @param dtype of q, k, v
     * @param sequences sequences in a call
     * @param d channels of the projection's q and k per head
     * @param dv channels of v per head
     * @param lrpe whether calls may come with θ
     * @param training whether backward will be called
     */
    void reserve(DType dtype, long tokens, int sequences, int heads, int d, int dv, boolean lrpe, boolean training);
}
