package org.transnormer.lightning;

import org.transnormer.tensor.Tensor;

/**
 * Causal linear attention with a fixed decay per head. SPEC section 3.3.
 *
 * <pre>
 * S_t = e^(-r_h) S_(t-1) + k_t v_tᵀ        o_t = S_tᵀ q_t  =  Σ_(s≤t) e^(-r_h (t-s)) (q_t·k_s) v_s
 * </pre>
 *
 * There is no 1/√d scale and no denominator; the current token counts undecayed. A state always means S_t above: the
 * last token undecayed.
 *
 * <p>Shapes: q, k, dq, dk (T, H, dk); v, o, dv, do (T, H, dv), with any strides on T and H and any T, dk, dv ≥ 1; rates r
 * (H), F32 or F64, finite, ≥ 0; states (slots, H, dk, dv) contiguous, F32 (F64 in an F64 model). Sequences do not see
 * each other, and those of one call have different slots; states in slots that no sequence names are neither read nor
 * written. mask (T) I32, or null: where it is 0, v_t counts as zero, whatever it holds, forwards and backwards; q, k,
 * positions and decay are untouched.
 *
 * <p>Outputs are overwritten and do not overlap inputs, except where a method says that two states may be one.
 */
public interface LightningAttention {

    /**
     * o, and the final states.
     *
     * @param initial states before the first token of each sequence, by its slot; null, or a sequence without a slot:
     *     zero
     * @param last receives the states after the last token, by slot; null if not wanted; may be initial
     */
    void forward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial, Tensor o,
            Tensor last);

    /**
     * Gradients of everything but the rates, which are not learned. Nothing is kept from the forward.
     *
     * @param dlast gradient of the final states, by slot, or null: zero
     * @param dinitial receives the gradient of the initial states, by slot; null if not wanted; may be dlast
     */
    void backward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial,
            Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial);

    /**
     * Announces calls of up to this size, so that scratch memory is planned and allocated before the first of them.
     *
     * @param sequences sequences in a call
     */
    default void reserve(long tokens, int sequences, int heads, int dk, int dv) {
        // no scratch memory
    }
}
