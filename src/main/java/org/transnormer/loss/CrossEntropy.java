package org.transnormer.loss;

import org.transnormer.tensor.Tensor;

/**
 * Softmax cross-entropy in two phases, so that the vocabulary may lie split over ranks: a rank holds the columns
 * [first, first + columns) of the logits. SPEC section 3.8.
 *
 * <pre>
 * m_t = max_i z_ti      s_t = Σ_i exp(z_ti - m_t)      loss_t = ln s_t + (m_t - z_t,target)
 * dz_ti = scale · (exp(z_ti - m_t) / s_t - [i = target_t])
 * </pre>
 *
 * <p>Shapes: logits (T, Vp) with any row stride: columns from {@code columns} on are padding, take no part in the loss
 * and get a zero gradient; {@code columns} may be 0. targets (T) I32, global token ids; {@link #IGNORE} rows have loss 0
 * and gradient 0. max, sum, target and losses are (T), F32 or F64, no narrower than the logits; only with sums in F64
 * does a loss far below 1e-7 keep its digits.
 *
 * <p>With several ranks: partial · globalMax = max over ranks of max · rescale · add sum and target over the ranks ·
 * apply with globalMax. With one rank: {@link #lossAndGradient}.
 */
public interface CrossEntropy {
    /** The label that takes no part in the loss. */
    int IGNORE = -100;

    /**
     * This rank's maximum (-∞ where it has no columns), sum of exponentials relative to it, and target logit (0 where
     * the target lies on another rank or is ignored).
     */
    void partial(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum, Tensor target);

    /** sum ← sum · exp(max - globalMax): makes the sums of several ranks addable. */
    void rescale(Tensor max, Tensor globalMax, Tensor sum);

    /**
     * losses_t, and dlogits if it is not null.
     *
     * @param max over all ranks, as are sum and target
     * @param scale (1): the gradient of each loss, 1 / number of targets for a mean
     * @param dlogits (T, Vp), or null; may be logits
     */
    void apply(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum, Tensor target,
            Tensor scale, Tensor losses, Tensor dlogits);

    /**
     * All of it on one rank, which holds every column: partial, then apply.
     *
     * @param max written, as are sum and target, by {@link #partial}
     * @param dlogits (T, Vp), or null; may be logits
     */
    default void lossAndGradient(Tensor logits, Tensor targets, long columns, Tensor max, Tensor sum, Tensor target,
            Tensor scale, Tensor losses, Tensor dlogits) {
        partial(logits, targets, 0, columns, max, sum, target);
        apply(logits, targets, 0, columns, max, sum, target, scale, losses, dlogits);
    }

    /** total (1) += Σ_t losses_t, in double, in a fixed order. */
    void total(Tensor losses, Tensor total);

    /**
     * Refuses targets that are neither a token nor {@link #IGNORE}. Whoever fills a target tensor calls this once, on
     * the host: no rank knows whether another one holds a target, so the loss of a wrong one would be a plausible number.
     *
     * @param targets (T) I32 in host memory
     * @param vocabulary number of tokens over all ranks, padding not counted
     * @throws IllegalArgumentException naming the first bad target and where it is
     */
    static void checkTargets(Tensor targets, long vocabulary) {
        for (long t = 0; t < targets.dim(0); t++) {
            int target = targets.getInt(t);
            if ((target < 0 || target >= vocabulary) && target != IGNORE) {
                throw new IllegalArgumentException("%s[%d] is %d: neither one of %d tokens nor %d (ignored)"
                        .formatted(targets.name(), t, target, vocabulary, IGNORE));
            }
        }
    }
}
