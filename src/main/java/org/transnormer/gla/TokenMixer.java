package org.transnormer.gla;

import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * The sub-layer that lets tokens see each other: y = x + mix(norm(x)). SPEC section 4.1. A mixer keeps what its backward
 * needs of the last forward in the buffers that it was built with.
 */
public sealed interface TokenMixer permits Gla {

    /**
     * y = x + mix(norm(x)).
     *
     * @param x (T, d), unchanged until the backward is done
     * @param mask (T) I32 value mask, or null
     * @param states before and after each sequence, of {@link #stateShape}
     * @param y (T, d)
     * @param name prefix of the names given to the trace
     */
    void forward(Tensor x, Sequences sequences, Tensor mask, LayerStates states, Tensor y, Trace trace, String name);

    /**
     * Parameter gradients, and dx = dy + the gradient through the mixer.
     *
     * @param states those of the forward
     * @param dy (T, d)
     * @param dx (T, d); may be dy
     * @param accumulate whether to add to the gradients of the matrices or to overwrite them
     */
    void backward(Tensor x, Sequences sequences, Tensor mask, LayerStates states, Tensor dy, Tensor dx,
            boolean accumulate);

    /** Shape of the state of one sequence: (H, dk, dv). Fixed: it does not grow with the sequence. */
    long[] stateShape();
}
