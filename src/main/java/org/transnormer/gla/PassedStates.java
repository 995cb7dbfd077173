package org.transnormer.gla;

import java.util.function.IntConsumer;
import org.transnormer.backend.Backend;
import org.transnormer.lightning.Border;
import org.transnormer.lightning.Sequences;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * The states of one layer where ranks hold consecutive parts of the same rows: they come from the rank before and go to
 * the one behind, their gradients the other way, one (B, H, dk, dv) of either per micro-batch, however long the rows.
 * SPEC section 7.5.
 *
 * <p>They are exchanged beside the computation: who sends goes on, and waits before the layer's end at the latest, when
 * the memory that is sent is used again. What came is kept until the layer's backward.
 */
public final class PassedStates implements LayerStates {
    private final Backend backend;
    private final Communicator beside;
    private final Border border;
    /** What came from before, by slot; what only goes out finds zero here. Null in the first part. */
    private final Tensor initial;
    /** What goes behind, then its gradient, then what goes before, by slot. */
    private final Tensor passing;
    /** The slots of them that are exchanged: one for each row. */
    private final Tensor received;
    private final Tensor sent;

    /**
     * @param beside the ranks that hold the parts, in their order, beside the computation
     * @param passing (slots, H, dk, dv), see {@link #passing}
     */
    public PassedStates(Backend backend, Communicator beside, Border border, String name, Tensor passing) {
        this.backend = backend;
        this.beside = beside;
        this.border = border;
        this.passing = passing;
        initial = border.before()
                ? backend.memory().allocate(MemoryKind.STATES, "initial." + name, passing.dtype(), passing.shape())
                : null;
        received = border.before() ? initial.slice(0, 0, border.rows()) : null;
        sent = passing.slice(0, 0, border.rows());
    }

    /** Memory for what a layer passes on: one for all layers, of the largest state. */
    public static Tensor passing(Memory memory, DType dtype, Border border, long elements) {
        return memory.allocate(MemoryKind.STATES, "passing states", dtype, border.slots() * elements);
    }

    @Override
    public Tensor arrive(Sequences sequences) {
        if (!border.before()) {
            beside.skip();
            return null;
        }
        receive(received, border.part() - 1);
        forSlots(sequences, slot -> {
            if (border.onlyIn(slot)) {
                backend.copy(initial.select(0, border.row(slot)), initial.select(0, slot));
            }
        });
        return initial;
    }

    @Override
    public Tensor initial() {
        return initial;
    }

    @Override
    public Tensor last() {
        return border.behind() ? passing : null;
    }

    @Override
    public void leave(Sequences sequences) {
        if (!border.behind()) {
            beside.skip();
            return;
        }
        forSlots(sequences, slot -> {
            if (border.onlyOut(slot)) {
                backend.copy(passing.select(0, slot), passing.select(0, border.row(slot)));
            }
        });
        send(border.part() + 1);
    }

    @Override
    public Tensor arriveGradient(Sequences sequences) {
        if (!border.behind()) {
            beside.skip();
            return null;
        }
        receive(sent, border.part() + 1);
        forSlots(sequences, slot -> {
            if (border.onlyOut(slot)) {
                backend.copy(passing.select(0, border.row(slot)), passing.select(0, slot));
            } else if (border.onlyIn(slot)) {
                backend.zero(passing.select(0, slot));
            }
        });
        return passing;
    }

    @Override
    public Tensor initialGradient() {
        return border.before() ? passing : null;
    }

    @Override
    public void leaveGradient(Sequences sequences) {
        if (!border.before()) {
            beside.skip();
            return;
        }
        forSlots(sequences, slot -> {
            if (border.onlyIn(slot)) {
                backend.copy(passing.select(0, slot), passing.select(0, border.row(slot)));
            }
        });
        send(border.part() - 1);
    }

    @Override
    public void settle() {
        beside.computeAwaitsCollectives();
    }

    private void receive(Tensor states, int from) {
        beside.collectivesAwaitCompute();
        beside.receive(states, from);
        beside.computeAwaitsCollectives();
    }

    private void send(int to) {
        beside.collectivesAwaitCompute();
        beside.send(sent, to);
    }

    /** Only where there are parts on both sides is a row's state moved from one slot to another. */
    private void forSlots(Sequences sequences, IntConsumer move) {
        for (int i = 0; border.between() && i < sequences.count(); i++) {
            if (sequences.slot(i) != Sequences.NO_SLOT) {
                move.accept(sequences.slot(i));
            }
        }
    }
}
