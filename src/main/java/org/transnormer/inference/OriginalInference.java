package org.transnormer.inference;

import org.transnormer.tensor.Tensor;

/**
 * The original inference form of the paper, kept to be studied: exact in exact arithmetic, useless in floating point.
 * SPEC section 5.2.
 *
 * <pre>
 * S_t = S_(t-1) + k_t e^(rt) v_tᵀ          o_t = (q_t e^(-rt))ᵀ S_t
 * </pre>
 *
 * e^(rt) leaves the range of F32 at t ≈ 88.7 / r: after 105 tokens for r = 0.84. {@link RobustInference} keeps e^(-rt) S_t
 * instead, which never grows.
 */
public final class OriginalInference {
    private final double rate;
    private final float[][] state;
    private long position;

    /**
     * @param rate r of the head
     * @param keyDim dk
     * @param valueDim dv
     */
    public OriginalInference(double rate, int keyDim, int valueDim) {
        this.rate = rate;
        this.state = new float[keyDim][valueDim];
    }

    /**
     * One token of one head, in F32.
     *
     * @param q (dk)
     * @param k (dk)
     * @param v (dv)
     * @param o (dv), overwritten
     */
    public void step(Tensor q, Tensor k, Tensor v, Tensor o) {
        position++;
        float grow = (float) StrictMath.exp(rate * position);
        float shrink = (float) StrictMath.exp(-rate * position);
        for (int j = 0; j < v.dim(0); j++) {
            float sum = 0;
            for (int i = 0; i < k.dim(0); i++) {
                state[i][j] += (float) k.get(i) * grow * (float) v.get(j);
                sum += (float) q.get(i) * shrink * state[i][j];
            }
            o.set(j, sum);
        }
    }

    /** The last position whose factor e^(rt) F32 can hold. */
    public static long lastFinitePosition(double rate) {
        return (long) (StrictMath.log(Float.MAX_VALUE) / rate);
    }
}
