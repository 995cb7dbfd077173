package org.transnormer.gla;

import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.Tensor;

/**
 * The states that the sequences of one layer start from and leave, by slot, (slots, H, dk, dv): kept here, or passed from
 * rank to rank. Calls come in this order, those of the backward after those of its forward. SPEC sections 3.3 and 7.5.
 */
public sealed interface LayerStates permits LayerStates.Kept, PassedStates {
    /** All sequences start from zero, and nobody wants what they leave. */
    LayerStates NONE = new Kept(null, null);

    /**
     * States of this rank alone; null: zero, not wanted. Their gradients are not.
     *
     * @param initial before the first tokens
     * @param last behind the last tokens; may be initial
     */
    record Kept(Tensor initial, Tensor last) implements LayerStates {
        @Override
        public Tensor arrive(Sequences sequences) {
            return initial;
        }

        @Override
        public void leave(Sequences sequences) {
            // they stay
        }

        @Override
        public Tensor arriveGradient(Sequences sequences) {
            return null;
        }

        @Override
        public Tensor initialGradient() {
            return null;
        }

        @Override
        public void leaveGradient(Sequences sequences) {
            // nobody wants it
        }

        @Override
        public void settle() {
            // nothing is on its way
        }
    }

    /** Gets the states before each sequence, for computation enqueued from now on; null: all zero. */
    Tensor arrive(Sequences sequences);

    /** The same again after {@link #arrive}, as long as the layer's backward is not done. */
    Tensor initial();

    /** Receives the states behind each sequence; null: not wanted. */
    Tensor last();

    /** {@link #last} is written. */
    void leave(Sequences sequences);

    /** Gets the gradients of the states behind each sequence; null: all zero. */
    Tensor arriveGradient(Sequences sequences);

    /** Receives the gradients of the states before each sequence; null: not wanted. */
    Tensor initialGradient();

    /** {@link #initialGradient} is written. */
    void leaveGradient(Sequences sequences);

    /** Computation enqueued from now on, which another layer's may be, waits for what leaves. */
    void settle();

    /** The same for a forward that is computed again: nothing is exchanged, what sequences leave is dropped. */
    default LayerStates again() {
        return initial() == null ? NONE : new Kept(initial(), null);
    }
}
