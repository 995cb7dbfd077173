package org.transnormer.srmsnorm;

import org.transnormer.tensor.Tensor;

/**
 * A normalisation of each token over its channels, in two phases: {@code partial} sums over the channels at hand, the
 * caller adds the sums of other ranks if there are any, {@code apply} normalises with the total. SPEC section 3.1.
 *
 * <p>Shapes: x, y, dy, dx and gate are (T, D) with any row stride; statistics are (T, {@link #statistics()}) and hold
 * sums, not means; {@code width} is the number of channels over all ranks, D on one rank. Each method overwrites its
 * outputs; only parameter gradients are added to. dx may be the same tensor as dy or as {@code residual}.
 *
 * <p>{@code gate} may be null. Where it is not, the result is y = gate ⊙ norm(x) in one pass (SPEC section 4.1).
 */
public sealed interface Norm permits SrmsNorm, RmsNorm, LayerNorm {

    /** Numbers per token that partial and backwardPartial produce. */
    int statistics();

    /** Announces calls with parameter gradients and so many channels, so that scratch memory can be planned. */
    default void reserve(long channels) {
        // a twin without scratch memory has nothing to announce
    }

    /** Sums of this rank's channels of x into {@code statistics} (T, statistics()). */
    void partial(Tensor x, Tensor statistics);

    /** y = norm(x), or gate ⊙ norm(x). */
    void apply(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y);

    /** Both phases, where this rank has all channels: {@code statistics} and y. */
    default void forward(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y) {
        partial(x, statistics);
        apply(x, statistics, width, parameters, gate, y);
    }

    /** Sums of this rank's channels that dx needs, into {@code sums} (T, statistics()). */
    void backwardPartial(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor dy,
            Tensor sums);

    /**
     * dx = residual + the gradient of x; dgate = the gradient of the gate; parameter gradients are added to
     * {@code dparameters}.
     *
     * @param residual a gradient to add, (T, D), or null
     * @param dgate null exactly where gate is null
     */
    void backwardApply(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters);

    /**
     * Both phases, where this rank has all channels; as {@link #backwardApply}.
     *
     * @param sums scratch of the shape of statistics
     */
    default void backward(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        backwardPartial(x, statistics, width, parameters, gate, dy, sums);
        backwardApply(x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate, dparameters);
    }
}
