package org.transnormer.model;

import org.transnormer.gla.TokenMixer;
import org.transnormer.lightning.Sequences;
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
 */
record Block(TokenMixer tokens, ChannelMixer channels, Buffer mid, Buffer out) {

    Tensor forward(Tensor x, Sequences sequences, Tensor mask, Tensor initial, Tensor last, Trace trace, String name) {
        Tensor middle = mid.rows(x.dim(0));
        Tensor y = out.rows(x.dim(0));
        tokens.forward(x, sequences, mask, initial, last, middle, trace, name);
        channels.forward(middle, y, trace, name);
        if (trace.active()) {
            trace.record(name + ".out", y);
        }
        return y;
    }

    /** dstream: gradient of the block's output, replaced by that of its input x. */
    void backward(Tensor x, Sequences sequences, Tensor mask, Tensor initial, Tensor dstream, boolean accumulate) {
        channels.backward(mid.rows(x.dim(0)), dstream, dstream, accumulate);
        tokens.backward(x, sequences, mask, initial, dstream, dstream, accumulate);
    }
}
