package org.transnormer.srmsnorm;

import org.transnormer.tensor.Tensor;

/**
 * Learned parameters of a norm, or their gradients: {@code weight} and {@code bias} of shape (D), each null where the
 * norm has none. Always F32 (F64 in an F64 model), whatever the type of the matrices.
 */
public record NormParameters(Tensor weight, Tensor bias) {
    /** SRMSNorm: nothing to learn. */
    public static final NormParameters NONE = new NormParameters(null, null);
}
