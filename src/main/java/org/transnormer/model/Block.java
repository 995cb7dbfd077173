package org.transnormer.model;

import org.transnormer.gla.LayerStates;
import org.transnormer.gla.TokenMixer;
import org.transnormer.lightning.Sequences;
import org.transnormer.parallel.RowSums;
import org.transnormer.sglu.ChannelMixer;
import org.transnormer.tensor.Buffer;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * One layer: x → mid = x + tokens(norm(x)) → out = mid + channels(norm(mid)). SPEC section 2.1.
 *
 * @param tokens the token mixer
 * @param channels the channel mixer
 * @param mid residual stream between the two, (T, d)
 * @param out residual stream after both, (T, d)
 * @param sums over the ranks that the mixers are split over
 * @param recomputesTokens whether mid and what the token mixer keeps are overwritten by other layers, and computed again
 */
record Block(TokenMixer tokens, ChannelMixer channels, Buffer mid, Buffer out, RowSums sums,
        boolean recomputesTokens) {

    /**
     * The block's output, {@link #out}.
     *
     * @param x residual stream before the block, (T, d), unchanged until the backward is done
     * @param mask (T) I32 value mask, or null
     * @param states before and after each sequence, by slot, (slots, H, dk, dv)
     * @param name prefix of the names given to the trace
     */
    Tensor forward(Tensor x, Sequences sequences, Tensor mask, LayerStates states, Trace trace, String name) {
        Tensor middle = mid.rows(x.dim(0));
        Tensor y = out.rows(x.dim(0));
        tokens.forward(x, sequences, mask, states, middle, trace, name);
        channels.forward(middle, y, trace, name);
        states.settle();
        if (trace.active()) {
            sums.await();
            trace.record(name + ".out", y);
        }
        return y;
    }

    /**
     * Parameter gradients, and the gradient of x.
     *
     * @param x as in the forward, (T, d)
     * @param states those of the forward
     * @param dstream gradient of the block's output, (T, d), replaced by that of x
     * @param accumulate whether to add to the gradients of the matrices or to overwrite them
     */
    void backward(Tensor x, Sequences sequences, Tensor mask, LayerStates states, Tensor dstream, boolean accumulate) {
        Tensor middle = mid.rows(x.dim(0));
        if (recomputesTokens) {
            tokens.forward(x, sequences, mask, states.again(), middle, Trace.NONE, "");
            sums.await();
        }
        channels.backward(middle, dstream, dstream, accumulate);
        tokens.backward(x, sequences, mask, states, dstream, dstream, accumulate);
        states.settle();
    }
}
