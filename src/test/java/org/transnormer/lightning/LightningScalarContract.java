package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.transnormer.lightning.LightningCall.assertSameBits;

import java.util.List;
import java.util.function.DoubleSupplier;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.FiniteDifference;
import org.transnormer.verify.Tolerance;

/** What the scalar forms keep besides: each is right by itself, and exact enough to be a spec. */
interface LightningScalarContract extends LightningContract {

    @Override
    default DType dtype() {
        return DType.F64;
    }

    /** 1e-12: e^(-r n) alone is off by up to r n ≤ 745 units where it is not zero, a sum by its length. */
    @Override
    default Tolerance tolerance(LightningCase shape) {
        return new Tolerance(1e-12 / DType.F64.unitRoundoff(), 1e-13 / DType.F64.unitRoundoff());
    }

    @Override
    @Provide
    default Arbitrary<LightningCase> calls() {
        return LightningCase.narrow();
    }

    @Provide
    default Arbitrary<LightningCase> tinyCalls() {
        return LightningCase.tiny();
    }

    /** By hand: a decay of one half, S_0 = 8, dS_3 = 1. */
    @Example
    default void knownNumbers() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor q = values(tensors, "q", 1, 2, 3).reshape(3, 1, 1);
            Tensor k = values(tensors, "k", 1, 1, 2).reshape(3, 1, 1);
            Tensor v = values(tensors, "v", 4, 2, 1).reshape(3, 1, 1);
            Tensor rates = values(tensors, "rates", StrictMath.log(2));
            Tensor dout = values(tensors, "dout", 1, 1, 1).reshape(3, 1, 1);
            Tensor initial = values(tensors, "initial", 8).reshape(1, 1, 1, 1);
            Tensor dlast = values(tensors, "dlast", 1).reshape(1, 1, 1, 1);
            Sequences sequences = Sequences.allocate(tensors.memory(), 1, 3);
            sequences.add(3, 0, 0);
            Tensor o = tensors.poisoned("o", DType.F64, 3, 1, 1);
            Tensor dq = tensors.poisoned("dq", DType.F64, 3, 1, 1);
            Tensor dk = tensors.poisoned("dk", DType.F64, 3, 1, 1);
            Tensor dv = tensors.poisoned("dv", DType.F64, 3, 1, 1);
            subject().forward(q, k, v, rates, sequences, null, initial, o, initial);
            assertValues(o, 8, 12, 15);
            assertValues(initial, 5);
            initial.fill(8);
            subject().backward(q, k, v, rates, sequences, null, initial, dout, dlast, dq, dk, dv, dlast);
            assertValues(dq, 8, 6, 5);
            assertValues(dk, 12, 8, 4);
            assertValues(dv, 3, 4, 8);
            assertValues(dlast, 1.5);
        }
    }

    /** Every entry of every input against the forward. */
    @Property(tries = 30)
    default void gradientsAreDerivatives(@ForAll("tinyCalls") LightningCase shape) {
        try (LightningCall call = LightningCall.of(shape, DType.F64)) {
            tame(call);
            call.run(subject());
            DoubleSupplier loss = () -> loss(call);
            for (int i = 0; i < 3; i++) {
                Tensor x = List.of(call.q, call.k, call.v).get(i);
                Tensor gradient = List.of(call.dq, call.dk, call.dv).get(i);
                FiniteDifference.check(gradient.name(), loss, x, gradient, call.tensors.zeros("", DType.F64, x.shape()))
                        .orThrow();
            }
            for (int n = 0; n < call.sequences.count(); n++) {
                int slot = call.sequences.slot(n);
                if (slot != Sequences.NO_SLOT) {
                    Tensor x = call.initial.select(0, slot);
                    FiniteDifference.check("dinitial", loss, x, call.dinitial.select(0, slot),
                            call.tensors.zeros("", DType.F64, x.shape())).orThrow();
                }
            }
        }
    }

    /** Shapes too large for that, along random directions. */
    @Property(tries = 20)
    default void gradientsAreDerivativesAlongDirections(@ForAll("calls") LightningCase any) {
        LightningCase shape = new LightningCase(any.seed(), any.heads(), any.dk(), any.dv(), any.lengths(),
                Values.NORMAL, any.gap(), any.masked(), any.stateful());
        try (LightningCall call = LightningCall.of(shape, DType.F64)) {
            tame(call);
            call.run(subject());
            for (int i = 0; i < (shape.stateful() ? 4 : 3); i++) {
                Tensor x = shape.stateful() ? List.of(call.q, call.k, call.v, call.initial).get(i)
                        : List.of(call.q, call.k, call.v).get(i);
                Tensor gradient = call.outputs().get(i == 3 ? 5 : i + 1);
                Tensor direction = call.tensors.random("direction", DType.F64, Values.NORMAL, x.shape());
                double want = 0;
                double terms = 0;
                for (long j = 0; j < x.size(); j++) {
                    double term = Double.isNaN(gradient.getFlat(j)) ? 0 : gradient.getFlat(j) * direction.getFlat(j);
                    want += term;
                    terms += Math.abs(term);
                }
                double scale = terms + Math.abs(loss(call));
                assertThat(FiniteDifference.directional(() -> loss(call), x, direction)).as(gradient.name())
                        .isCloseTo(want, within(FiniteDifference.TOLERANCE * scale));
            }
        }
    }

    /** On narrower tensors: the F64 result, rounded once. */
    @Property(tries = 20)
    default void roundsOnce(@ForAll("calls") LightningCase shape, @ForAll boolean bf16) {
        DType narrow = bf16 ? DType.BF16 : DType.F32;
        try (LightningCall call = LightningCall.of(shape, narrow); LightningCall want = call.as(DType.F64);
                LightningCall rounded = call.as(narrow)) {
            want.run(subject());
            for (int i = 0; i < want.outputs().size(); i++) {
                rounded.outputs().get(i).copyFrom(want.outputs().get(i));
            }
            assertSameBits(call.run(subject()).outputs(), rounded.outputs());
        }
    }

    /** No gradient so small, or zero throughout, that it drowns in the rounding of the loss. */
    private static void tame(LightningCall call) {
        for (int h = 0; h < call.shape.heads(); h++) {
            call.rates.set(h, 0.7 * h + 0.03);
        }
        for (int n = 0; call.mask != null && n < call.sequences.count(); n++) {
            call.mask.setInt(call.sequences.offset(n), 1);
        }
    }

    /** A function of which dout and dlast are the gradients. */
    private double loss(LightningCall call) {
        call.forward(subject());
        double loss = 0;
        for (long i = 0; i < call.o.size(); i++) {
            loss += call.o.getFlat(i) * call.dout.getFlat(i);
        }
        for (int n = 0; call.last != null && n < call.sequences.count(); n++) {
            int slot = call.sequences.slot(n);
            if (slot != Sequences.NO_SLOT) {
                Tensor last = call.last.select(0, slot);
                Tensor dlast = call.dlast.select(0, slot);
                for (long i = 0; i < last.size(); i++) {
                    loss += last.getFlat(i) * dlast.getFlat(i);
                }
            }
        }
        return loss;
    }

    private static Tensor values(TestTensors tensors, String name, double... values) {
        Tensor x = tensors.zeros(name, DType.F64, values.length);
        for (int i = 0; i < values.length; i++) {
            x.set(i, values[i]);
        }
        return x;
    }

    private static void assertValues(Tensor got, double... want) {
        for (int i = 0; i < want.length; i++) {
            assertThat(got.getFlat(i)).as("%s, element %d", got.name(), i).isCloseTo(want[i], within(1e-14));
        }
    }
}
