package org.transnormer.loss;

import org.transnormer.tensor.Tensor;

/**
 * Softmax cross-entropy in two phases, so that the vocabulary may lie split over ranks: a rank holds the columns
 * [first, first + Vr) of the logits. SPEC section 3.8.
 *
 * <pre>
 * m_t = max_i z_ti      s_t = Σ_i exp(z_ti - m_t)      loss_t = m_t + ln s_t - z_t,target
 * dz_ti = scale · (exp(z_ti - m_t) / s_t - [i = target_t])
 * </pre>
 *
 * <p>Shapes: logits (T, Vp) with Vp ≥ Vr: columns from {@code columns} on are padding, take no part in the loss and
 * get a zero gradient. targets (T) I32; {@link #IGNORE} rows have loss 0 and gradient 0. max, sum, target and losses
 * are (T), F32 or F64.
 */
public interface CrossEntropy {
    /** The label that takes no part in the loss. */
    int IGNORE = -100;

    /**
     * This rank's maximum, sum of exponentials relative to it, and target logit (0 where the target lies on another
     * rank or is ignored).
     */
    void partial(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum, Tensor target);

    /** sum ← sum · exp(max - globalMax): makes the sums of several ranks addable. */
    void rescale(Tensor max, Tensor globalMax, Tensor sum);

    /** losses_t, and dlogits if it is not null (may be logits). */
    void apply(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum, Tensor target,
            Tensor scale, Tensor losses, Tensor dlogits);

    /** total (1) += Σ_t losses_t, in a fixed order. */
    void total(Tensor losses, Tensor total);
}
