package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.verify.Comparison;

/** The arguments of a {@link LightningCase}: inputs filled, outputs poisoned. */
final class LightningCall implements AutoCloseable {
    /** Of real models, none, next to none, and such that little or nothing is left after one token. */
    private static final double[] RATES = {0, 4e-8, 0.0039, 0.1, 0.5, 0.84, 2, 8, 100, 1e6};

    final LightningCase shape;
    final DType dtype;
    final DType stateType;
    final TestTensors tensors;
    Sequences sequences;
    Tensor q;
    Tensor k;
    Tensor v;
    Tensor rates;
    Tensor mask;
    Tensor initial;
    Tensor o;
    Tensor last;
    Tensor dout;
    Tensor dlast;
    Tensor dq;
    Tensor dk;
    Tensor dv;
    Tensor dinitial;

    private LightningCall(LightningCase shape, DType dtype, TestTensors tensors) {
        this.shape = shape;
        this.dtype = dtype;
        this.stateType = dtype == DType.F64 ? DType.F64 : DType.F32;
        this.tensors = tensors;
    }

    static LightningCall of(LightningCase shape, DType dtype) {
        LightningCall call = new LightningCall(shape, dtype, new TestTensors(shape.seed()));
        call.fill();
        return call;
    }

    private void fill() {
        int count = shape.lengths().size();
        sequences = Sequences.allocate(tensors.memory(), count, shape.tokens());
        List<Integer> slots = new ArrayList<>();
        for (int slot = 0; slot < count + 2; slot++) {
            slots.add(slot);
        }
        Collections.shuffle(slots, new Random(shape.seed()));
        for (int n = 0; n < count; n++) {
            boolean none = !shape.stateful() || tensors.random().nextInt(4) == 0;
            sequences.add(shape.lengths().get(n), 5, none ? Sequences.NO_SLOT : slots.get(n));
        }
        q = tensors.fill(tokens("q", shape.dk()), shape.values());
        k = tensors.fill(tokens("k", shape.dk()), shape.values());
        v = tensors.fill(tokens("v", shape.dv()), shape.values());
        dout = tensors.fill(tokens("dout", shape.dv()), shape.values());
        rates = tensors.zeros("rates", stateType, shape.heads());
        for (int h = 0; h < shape.heads(); h++) {
            rates.set(h, (float) RATES[tensors.random().nextInt(RATES.length)]);
        }
        if (shape.masked()) {
            mask = tensors.zeros("mask", DType.I32, shape.tokens());
            for (int t = 0; t < shape.tokens(); t++) {
                mask.setInt(t, tensors.random().nextInt(3));
            }
        }
        if (shape.stateful()) {
            initial = fillNamed(states("initial"));
            dlast = fillNamed(states("dlast"));
        }
        poison();
    }

    /** New outputs, NaN throughout. */
    LightningCall poison() {
        o = tokens("o", shape.dv());
        dq = tokens("dq", shape.dk());
        dk = tokens("dk", shape.dk());
        dv = tokens("dv", shape.dv());
        last = shape.stateful() ? states("last") : null;
        dinitial = shape.stateful() ? states("dinitial") : null;
        return this;
    }

    /** The same inputs, converted; new outputs. */
    LightningCall as(DType other) {
        LightningCall call = of(shape, other);
        call.sequences = sequences;
        call.q.copyFrom(q);
        call.k.copyFrom(k);
        call.v.copyFrom(v);
        call.dout.copyFrom(dout);
        call.rates.copyFrom(rates);
        if (mask != null) {
            call.mask.copyFrom(mask);
        }
        if (initial != null) {
            call.initial.copyFrom(initial);
            call.dlast.copyFrom(dlast);
        }
        return call;
    }

    /** The same inputs without their signs, F64. */
    LightningCall magnitudes() {
        LightningCall call = as(DType.F64);
        for (Tensor x : new Tensor[] {call.q, call.k, call.v, call.dout, call.initial, call.dlast}) {
            for (long i = 0; x != null && i < x.size(); i++) {
                x.setFlat(i, Math.abs(x.getFlat(i)));
            }
        }
        return call;
    }

    /** Tokens [from, to) of this call as one sequence: views of its tensors, and its states. */
    LightningCall part(long from, long to, int slot) {
        LightningCall part = new LightningCall(shape, dtype, tensors);
        part.sequences = Sequences.allocate(tensors.memory(), 1, to - from);
        part.sequences.add(to - from, from, slot);
        part.q = q.slice(0, from, to);
        part.k = k.slice(0, from, to);
        part.v = v.slice(0, from, to);
        part.rates = rates;
        part.mask = mask == null ? null : mask.slice(0, from, to);
        part.initial = initial;
        part.o = o.slice(0, from, to);
        part.last = last;
        part.dout = dout.slice(0, from, to);
        part.dlast = dlast;
        part.dq = dq.slice(0, from, to);
        part.dk = dk.slice(0, from, to);
        part.dv = dv.slice(0, from, to);
        part.dinitial = dinitial;
        return part;
    }

    void forward(LightningAttention attention) {
        attention.forward(q, k, v, rates, sequences, mask, initial, o, last);
    }

    void backward(LightningAttention attention) {
        attention.backward(q, k, v, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
    }

    LightningCall run(LightningAttention attention) {
        forward(attention);
        backward(attention);
        return this;
    }

    List<Tensor> inputs() {
        return withStates(List.of(q, k, v, dout), initial, dlast);
    }

    List<Tensor> outputs() {
        return withStates(List.of(o, dq, dk, dv), last, dinitial);
    }

    private static List<Tensor> withStates(List<Tensor> tokens, Tensor before, Tensor after) {
        List<Tensor> all = new ArrayList<>(tokens);
        if (before != null) {
            all.add(before);
        }
        if (after != null) {
            all.add(after);
        }
        return all;
    }

    /** A new tensor of states, NaN throughout. */
    Tensor states(String name) {
        return tensors.poisoned(name, stateType, shape.lengths().size() + 2L, shape.heads(), shape.dk(), shape.dv());
    }

    /** Fills the states in slots that a sequence names. */
    Tensor fillNamed(Tensor states) {
        for (int n = 0; n < sequences.count(); n++) {
            if (sequences.slot(n) != Sequences.NO_SLOT) {
                tensors.fill(states.select(0, sequences.slot(n)), shape.values());
            }
        }
        return states;
    }

    private Tensor tokens(String name, int width) {
        return switch (shape.gap()) {
            case 0 -> tensors.poisoned(name, dtype, shape.tokens(), shape.heads(), width);
            case 1 -> tensors.strided(name, dtype, 5, shape.tokens(), shape.heads(), width);
            default -> tensors.poisoned(name, dtype, shape.tokens(), shape.heads(), width + 3).slice(2, 1, width + 1);
        };
    }

    /** Fails unless the bits are the same, those of zeros and NaNs too. */
    static void assertSameBits(List<Tensor> got, List<Tensor> want) {
        assertThat(got).hasSameSizeAs(want);
        for (int i = 0; i < got.size(); i++) {
            assertSameBits(got.get(i), want.get(i));
        }
    }

    static void assertSameBits(Tensor got, Tensor want) {
        assertThat(got.shape()).as(got.name()).containsExactly(want.shape());
        for (long i = 0; i < want.size(); i++) {
            long bits = Double.doubleToLongBits(got.getFlat(i));
            if (bits != Double.doubleToLongBits(want.getFlat(i))) {
                throw new AssertionError("%s, element %d: got %s, want %s".formatted(got, i, got.getFlat(i),
                        want.getFlat(i)));
            }
        }
    }

    /** Fails unless the numbers are equal; zeros of either sign are. */
    static void assertSameNumbers(List<Tensor> got, List<Tensor> want) {
        assertThat(got).hasSameSizeAs(want);
        for (int i = 0; i < got.size(); i++) {
            Comparison.of(got.get(i).name(), got.get(i), want.get(i), at -> 0, 1).orThrow();
        }
    }

    @Override
    public void close() {
        tensors.close();
    }
}
