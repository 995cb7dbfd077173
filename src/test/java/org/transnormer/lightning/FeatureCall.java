package org.transnormer.lightning;

import java.util.ArrayList;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** The arguments of a call of {@link FeatureAttention}: q, k, v views of one projection, outputs poisoned. */
final class FeatureCall implements AutoCloseable {
    private static final double[] RATES = {0, 0.0039, 0.1, 0.5, 0.84, 8};

    /**
     * A generated call.
     *
     * @param lengths tokens of each sequence
     * @param start position of the first token of each
     */
    record Case(long seed, int heads, int d, int dv, List<Integer> lengths, int start, ActivationFunction f,
            boolean lrpe, boolean masked, boolean stateful) {

        static Arbitrary<Case> any() {
            Arbitrary<Integer> width = Arbitraries.of(1, 3, 8, 16, 17, 32, 33, 64);
            Arbitrary<Integer> length = Arbitraries.of(1, 1, 2, 5, 31, 63, 64, 65, 130);
            return Combinators.combine(Arbitraries.longs(), Arbitraries.integers().between(1, 3), width, width,
                    length.list().ofMinSize(1).ofMaxSize(3), Arbitraries.of(0, 5, 100_000),
                    Arbitraries.of(ActivationFunction.class), Arbitraries.integers().between(0, 7))
                    .as((seed, heads, d, dv, lengths, start, f, flags) -> new Case(seed, heads, d, dv, lengths, start,
                            f, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0));
        }

        int tokens() {
            return lengths.stream().mapToInt(Integer::intValue).sum();
        }

        int dk() {
            return lrpe ? 2 * d : d;
        }
    }

    final Case shape;
    final TestTensors tensors;
    final Sequences sequences;
    /** (T, H (2d + dv)): the rows of q, k and v. */
    final Tensor qkv;
    final Tensor q;
    final Tensor k;
    final Tensor v;
    final Tensor theta;
    final Tensor rates;
    final Tensor mask;
    final Tensor initial;
    final Tensor dout;
    final Tensor dlast;
    final Tensor o;
    final Tensor last;
    final Tensor dq;
    final Tensor dk;
    final Tensor dv;
    final Tensor dtheta;
    final Tensor dinitial;

    private FeatureCall(Case shape, DType dtype) {
        this.shape = shape;
        tensors = new TestTensors(shape.seed());
        DType wide = dtype == DType.F64 ? DType.F64 : DType.F32;
        int count = shape.lengths().size();
        sequences = Sequences.allocate(tensors.memory(), count, shape.tokens());
        for (int n = 0; n < count; n++) {
            sequences.add(shape.lengths().get(n), shape.start(), (shape.seed() + n) % 4 == 0 ? Sequences.NO_SLOT
                    : count - n);
        }
        qkv = tensors.random("qkv", dtype, Values.NORMAL, shape.tokens(), width());
        q = group("q", qkv, 0, shape.d());
        k = group("k", qkv, shape.heads() * shape.d(), shape.d());
        v = group("v", qkv, 2 * shape.heads() * shape.d(), shape.dv());
        dout = tensors.random("dout", dtype, Values.NORMAL, shape.tokens(), shape.heads(), shape.dv());
        theta = shape.lrpe() ? tensors.random("theta", wide, Values.UNIFORM, shape.heads(), shape.d()) : null;
        dtheta = shape.lrpe() ? tensors.random("dtheta", wide, Values.NORMAL, shape.heads(), shape.d()) : null;
        rates = tensors.zeros("rates", wide, shape.heads());
        for (int h = 0; h < shape.heads(); h++) {
            rates.set(h, (float) RATES[tensors.random().nextInt(RATES.length)]);
        }
        mask = shape.masked() ? tensors.zeros("mask", DType.I32, shape.tokens()) : null;
        for (int t = 0; shape.masked() && t < shape.tokens(); t++) {
            mask.setInt(t, tensors.random().nextInt(3));
        }
        initial = shape.stateful() ? states("initial", wide, Values.NORMAL) : null;
        dlast = shape.stateful() ? states("dlast", wide, Values.NORMAL) : null;
        last = shape.stateful() ? states("last", wide, null) : null;
        dinitial = shape.stateful() ? states("dinitial", wide, null) : null;
        Tensor dqkv = tensors.poisoned("dqkv", dtype, shape.tokens(), width());
        dq = group("dq", dqkv, 0, shape.d());
        dk = group("dk", dqkv, shape.heads() * shape.d(), shape.d());
        dv = group("dv", dqkv, 2 * shape.heads() * shape.d(), shape.dv());
        o = tensors.poisoned("o", dtype, shape.tokens(), shape.heads(), shape.dv());
    }

    static FeatureCall of(Case shape, DType dtype) {
        return new FeatureCall(shape, dtype);
    }

    /** The same inputs in F64. */
    FeatureCall exact() {
        FeatureCall call = new FeatureCall(shape, DType.F64);
        call.q.copyFrom(q);
        call.k.copyFrom(k);
        call.v.copyFrom(v);
        call.dout.copyFrom(dout);
        call.rates.copyFrom(rates);
        if (theta != null) {
            call.theta.copyFrom(theta);
            call.dtheta.copyFrom(dtheta);
        }
        if (initial != null) {
            call.initial.copyFrom(initial);
            call.dlast.copyFrom(dlast);
        }
        return call;
    }

    FeatureCall run(FeatureAttention attention) {
        attention.forward(q, k, v, shape.f(), theta, rates, sequences, mask, initial, o, last);
        attention.backward(q, k, v, shape.f(), theta, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dtheta,
                dinitial);
        return this;
    }

    /** o, dq, dk, dv, and those that there are of dθ, last, dinitial. */
    List<Tensor> outputs() {
        List<Tensor> all = new ArrayList<>(List.of(o, dq, dk, dv));
        if (dtheta != null) {
            all.add(dtheta);
        }
        if (last != null) {
            all.addAll(List.of(last, dinitial));
        }
        return all;
    }

    private long width() {
        return (long) shape.heads() * (2 * shape.d() + shape.dv());
    }

    private Tensor group(String name, Tensor projection, long from, int width) {
        return projection.slice(1, from, from + (long) shape.heads() * width)
                .reshape(shape.tokens(), shape.heads(), width).named(name);
    }

    /** Poisoned, but for the states that a sequence names where there are values. */
    private Tensor states(String name, DType wide, Values values) {
        Tensor states = tensors.poisoned(name, wide, sequences.count() + 2L, shape.heads(), shape.dk(), shape.dv());
        for (int n = 0; values != null && n < sequences.count(); n++) {
            if (sequences.slot(n) != Sequences.NO_SLOT) {
                tensors.fill(states.select(0, sequences.slot(n)), values);
            }
        }
        return states;
    }

    @Override
    public void close() {
        tensors.close();
    }
}
