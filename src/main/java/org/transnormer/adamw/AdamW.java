package org.transnormer.adamw;

import org.transnormer.tensor.Tensor;

/**
 * AdamW with decoupled weight decay on one tensor. SPEC section 3.9.
 *
 * <pre>
 * g ← clip · g
 * m ← β₁ m + (1-β₁) g        v ← β₂ v + (1-β₂) g²
 * w ← w - lr · λ · w         (decayed tensors only)
 * w ← w - lr · (m / c₁) / (√(v / c₂) + ε)      c₁ = 1-β₁^t, c₂ = 1-β₂^t
 * </pre>
 *
 * <p>Shapes: all tensors have the same shape and are contiguous. {@code master}, gradient and moments are F32 (F64 in
 * an F64 model); {@code weight} is the tensor that the model reads, in its own type: the stored master rounded again,
 * or the same tensor as master.
 */
public interface AdamW {

    /** What changes from step to step, in a device buffer of its own so that a step can be recorded. */
    enum Scalar {
        LEARNING_RATE,
        /** c₁ = 1 - β₁^t. */
        CORRECTION1,
        /** c₂ = 1 - β₂^t. */
        CORRECTION2,
        /** Factor on every gradient from {@link GradientNorm}. */
        CLIP
    }

    /**
     * What is fixed for a run.
     *
     * @param beta1 β₁, 0 ≤ β₁ &lt; 1
     * @param beta2 β₂, 0 ≤ β₂ &lt; 1
     * @param epsilon ε > 0, outside the root
     * @param weightDecay λ ≥ 0
     */
    record Constants(double beta1, double beta2, double epsilon, double weightDecay) {
        /** Refuses values outside these ranges, NaN included. */
        public Constants {
            if (!(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1 && epsilon > 0 && weightDecay >= 0)) {
                throw new IllegalArgumentException(
                        "AdamW needs betas in [0, 1), epsilon > 0, weight decay >= 0: %s, %s, %s, %s"
                                .formatted(beta1, beta2, epsilon, weightDecay));
            }
        }

        /** c₁ = 1 - β₁^t of update t = 1, 2, …, without cancellation. */
        public double correction1(long t) {
            return -StrictMath.expm1(t * StrictMath.log(beta1));
        }

        /** c₂ = 1 - β₂^t of update t = 1, 2, …, without cancellation. */
        public double correction2(long t) {
            return -StrictMath.expm1(t * StrictMath.log(beta2));
        }
    }

    /**
     * One update.
     *
     * @param scalars (4) F64, indexed by {@link Scalar#ordinal}
     * @param decays whether the weight decay applies to this tensor
     */
    void step(Tensor master, Tensor weight, Tensor gradient, Tensor m, Tensor v, Constants constants, boolean decays,
            Tensor scalars);
}
