package org.transnormer.model;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.gla.LayerStates;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * What a model remembers of each sequence: one state per layer and slot, and the position of the next token per slot.
 * Its size does not depend on how long the sequences are. SPEC section 5.1.
 */
public final class DecodeState {
    private final List<Tensor> layers = new ArrayList<>();
    private final List<LayerStates> states = new ArrayList<>();
    private final long[] positions;

    /** @param slots how many sequences it holds */
    public DecodeState(TransNormer model, Memory memory, int slots) {
        positions = new long[slots];
        for (int layer = 0; layer < model.config().layers(); layer++) {
            long[] shape = model.stateShape(layer);
            layers.add(
                    memory.allocate(MemoryKind.STATES, "state." + layer, model.stateType(), slots, shape[0], shape[1],
                            shape[2]));
            states.add(new LayerStates.Kept(layers.getLast(), layers.getLast()));
        }
    }

    public int slots() {
        return positions.length;
    }

    /** (slots, H, dk, dv). */
    public Tensor layer(int layer) {
        return layers.get(layer);
    }

    /** {@link #layer} as what sequences start from and leave. */
    LayerStates states(int layer) {
        return states.get(layer);
    }

    /** Tokens that the sequence in this slot has had: the position of its next one. */
    public long position(int slot) {
        return positions[slot];
    }

    /** Records that the sequence in this slot has had {@code tokens} more. */
    public void advance(int slot, long tokens) {
        positions[slot] += tokens;
    }

    /** Forgets the sequence in a slot. */
    public void reset(int slot) {
        positions[slot] = 0;
        for (Tensor t : layers) {
            t.select(0, slot).fill(0);
        }
    }

    /** Makes slot {@code to} of {@code target} a copy of slot {@code from}: save, restore, fork, reorder. */
    public void copy(int from, DecodeState target, int to) {
        target.positions[to] = positions[from];
        for (int layer = 0; layer < layers.size(); layer++) {
            target.layers.get(layer).select(0, to).copyFrom(layers.get(layer).select(0, from));
        }
    }
}
