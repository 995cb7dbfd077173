package org.transnormer.sglu;

import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/** The sub-layer that mixes the channels of each token: y = x + mix(norm(x)). SPEC section 4.2. */
public sealed interface ChannelMixer permits Sglu {

    /**
     * y = x + mix(norm(x)).
     *
     * @param x (T, d), unchanged until the backward is done
     * @param y (T, d)
     * @param name prefix of the names given to the trace
     */
    void forward(Tensor x, Tensor y, Trace trace, String name);

    /**
     * Parameter gradients, and dx = dy + the gradient through the mixer.
     *
     * @param dx (T, d); may be dy
     * @param accumulate whether to add to the gradients of the matrices or to overwrite them
     */
    void backward(Tensor x, Tensor dy, Tensor dx, boolean accumulate);
}
