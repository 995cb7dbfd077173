package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.transnormer.lightning.LightningCall.assertSameBits;
import static org.transnormer.lightning.LightningCall.assertSameNumbers;

import java.util.ArrayList;
import java.util.List;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.verify.Tolerance;

/** What every twin of {@link LightningAttention} keeps. SPEC section 3.3. */
interface LightningContract {

    LightningAttention subject();

    /** The form that the subject is compared with, run in F64: another one than itself. */
    default LightningAttention reference() {
        return new LightningQuadratic();
    }

    /** The type that the subject is tested in. */
    DType dtype();

    /** Factors on u Σ|terms|. */
    Tolerance tolerance(LightningCase shape);

    @Provide
    default Arbitrary<LightningCase> calls() {
        return LightningCase.any();
    }

    @Property(tries = 60)
    default void isTheReference(@ForAll("calls") LightningCase shape) {
        assertSame(subject(), reference(), shape);
    }

    /** A state carries all of the past over a cut, its gradient all of the future. */
    @Property(tries = 30)
    default void isTheSameInTwoParts(@ForAll("calls") LightningCase any, @ForAll int anywhere) {
        LightningCase shape = any.with(any.masked(), true).withLengths(List.of(any.tokens() + 1));
        int cut = 1 + Math.floorMod(anywhere, shape.tokens() - 1);
        try (LightningCall call = LightningCall.of(shape, dtype()); LightningCall want = call.as(DType.F64)) {
            int slot = call.sequences.slot(0);
            LightningCall first = call.part(0, cut, slot == Sequences.NO_SLOT ? 0 : slot);
            LightningCall second = call.part(cut, shape.tokens(), first.sequences.slot(0));
            if (slot == Sequences.NO_SLOT) {
                first.initial = null;
                second.dlast = null;
                second.last = null;
                first.dinitial = null;
            }
            first.last = call.states("last of the first part");
            second.initial = first.last;
            second.dinitial = call.states("dinitial of the second part");
            first.dlast = second.dinitial;
            first.forward(subject());
            second.run(subject());
            first.backward(subject());
            assertClose(call, want.run(reference()).outputs());
        }
    }

    /**
     * Outputs and gradients of queries do not see later tokens, gradients of keys and values not earlier ones, other
     * sequences neither: bit for bit, and whatever becomes of the token.
     */
    @Property(tries = 30)
    default void isCausal(@ForAll("calls") LightningCase shape, @ForAll int anywhere) {
        int token = Math.floorMod(anywhere, shape.tokens());
        try (LightningCall call = LightningCall.of(shape, dtype()); LightningCall changed = call.as(dtype())) {
            call.run(subject());
            for (Tensor x : List.of(changed.q, changed.k, changed.v, changed.dout)) {
                Tensor row = x.slice(0, token, token + 1L);
                if (anywhere % 2 == 0) {
                    changed.tensors.fill(row, shape.values());
                } else {
                    row.fill(anywhere % 3 == 0 ? Double.NaN : Double.NEGATIVE_INFINITY);
                }
            }
            changed.run(subject());
            for (int n = 0; n < call.sequences.count(); n++) {
                long start = call.sequences.offset(n);
                long end = call.sequences.offset(n + 1);
                boolean other = token < start || token >= end;
                long seen = other ? end : token;
                long next = other ? start : token + 1L;
                assertSameBits(changed.o.slice(0, start, seen), call.o.slice(0, start, seen));
                assertSameBits(changed.dq.slice(0, start, seen), call.dq.slice(0, start, seen));
                assertSameBits(changed.dk.slice(0, next, end), call.dk.slice(0, next, end));
                assertSameBits(changed.dv.slice(0, next, end), call.dv.slice(0, next, end));
                int slot = call.sequences.slot(n);
                if (other && slot != Sequences.NO_SLOT) {
                    assertSameBits(changed.last.select(0, slot), call.last.select(0, slot));
                    assertSameBits(changed.dinitial.select(0, slot), call.dinitial.select(0, slot));
                }
            }
        }
    }

    /** Packing sequences into one buffer changes no bit of any of them. */
    @Property(tries = 30)
    default void packedIsAsAlone(@ForAll("calls") LightningCase shape) {
        try (LightningCall call = LightningCall.of(shape, dtype()); LightningCall alone = call.as(dtype())) {
            for (int n = 0; n < call.sequences.count(); n++) {
                alone.part(call.sequences.offset(n), call.sequences.offset(n + 1), call.sequences.slot(n))
                        .run(subject());
            }
            assertSameBits(call.run(subject()).outputs(), alone.outputs());
        }
    }

    @Property(tries = 20)
    default void isLinearInValuesAndInitialStates(@ForAll("calls") LightningCase shape) {
        try (LightningCall one = LightningCall.of(shape, dtype()); LightningCall two = one.as(dtype());
                LightningCall sum = one.as(dtype())) {
            two.tensors.fill(two.v, shape.values());
            add(one.v, two.v, sum.v);
            if (shape.stateful()) {
                two.fillNamed(two.initial);
                add(one.initial, two.initial, sum.initial);
            }
            for (LightningCall call : List.of(one, two, sum)) {
                call.forward(subject());
            }
            Tensor want = one.tensors.zeros("sum", DType.F64, one.o.shape());
            Tensor terms = one.tensors.zeros("terms", DType.F64, one.o.shape());
            add(one.o, two.o, want);
            add(terms(one).getFirst(), terms(two).getFirst(), terms);
            // Three results with errors, of which two are no larger than the bound together.
            assertClose(new Tolerance(2 * tolerance(shape).c(), 2 * tolerance(shape).rms()), sum.o, want, terms);
        }
    }

    /** Without decay, states are plain sums. */
    @Property(tries = 20)
    default void rateZeroIsACumulativeSum(@ForAll("calls") LightningCase any) {
        LightningCase shape = any.with(any.masked(), false).withLengths(List.of(any.tokens()));
        try (LightningCall call = LightningCall.of(shape, dtype()); LightningCall want = call.as(DType.F64)) {
            call.rates.fill(0);
            for (int h = 0; h < shape.heads(); h++) {
                for (int j = 0; j < shape.dv(); j++) {
                    double[] sums = new double[shape.dk()];
                    for (int t = 0; t < shape.tokens(); t++) {
                        double o = 0;
                        for (int i = 0; i < shape.dk(); i++) {
                            sums[i] += call.k.get(t, h, i) * value(call, t, h, j);
                            o += call.q.get(t, h, i) * sums[i];
                        }
                        want.o.set(t, h, j, o);
                    }
                }
            }
            call.forward(subject());
            assertClose(tolerance(shape), call.o, want.o, terms(call).getFirst());
        }
    }

    /** With a decay that nothing outlives, each token sees itself. */
    @Property(tries = 20)
    default void hugeRateIsTheLocalTerm(@ForAll("calls") LightningCase any) {
        LightningCase shape = any.with(any.masked(), any.stateful()).withLengths(List.of(any.tokens()));
        try (LightningCall call = LightningCall.of(shape, dtype()); LightningCall want = call.as(DType.F64)) {
            call.rates.fill(1e6);
            for (int h = 0; h < shape.heads(); h++) {
                for (int t = 0; t < shape.tokens(); t++) {
                    double product = 0;
                    for (int i = 0; i < shape.dk(); i++) {
                        product += call.q.get(t, h, i) * call.k.get(t, h, i);
                    }
                    for (int j = 0; j < shape.dv(); j++) {
                        want.o.set(t, h, j, product * value(call, t, h, j));
                    }
                }
            }
            call.forward(subject());
            assertClose(tolerance(shape), call.o, want.o, terms(call).getFirst());
        }
    }

    /** A masked value counts as zero whatever it holds, and has no gradient. */
    @Property(tries = 30)
    default void maskedValuesCountAsZero(@ForAll("calls") LightningCase any) {
        try (LightningCall call = LightningCall.of(any.with(true, any.stateful()), dtype());
                LightningCall want = call.as(dtype())) {
            for (int t = 0; t < any.tokens(); t++) {
                if (call.mask.getInt(t) == 0) {
                    call.v.slice(0, t, t + 1L).fill(Double.NaN);
                    want.v.slice(0, t, t + 1L).fill(0);
                }
            }
            want.mask = null;
            want.run(subject());
            for (int t = 0; t < any.tokens(); t++) {
                if (call.mask.getInt(t) == 0) {
                    want.dv.slice(0, t, t + 1L).fill(0);
                }
            }
            assertSameBits(call.run(subject()).outputs(), want.outputs());
        }
    }

    /** A null state is a zero state, and whether a final state is wanted makes no difference to the rest. */
    @Property(tries = 20)
    default void absentStatesAreZero(@ForAll("calls") LightningCase any) {
        try (LightningCall call = LightningCall.of(any.with(any.masked(), true), dtype());
                LightningCall want = call.as(dtype())) {
            want.initial.fill(0);
            want.dlast.fill(0);
            want.run(subject());
            call.initial = null;
            call.dlast = null;
            assertSameNumbers(call.run(subject()).outputs(), want.outputs());
            call.poison();
            call.last = null;
            call.dinitial = null;
            assertSameNumbers(call.run(subject()).outputs(), want.outputs().subList(0, 4));
        }
    }

    /** Of sequences of one token and of more, in one call. */
    @Property(tries = 20)
    default void statesMayBeUpdatedInPlace(@ForAll("calls") LightningCase any) {
        List<Integer> lengths = new ArrayList<>(any.lengths());
        lengths.addAll(List.of(2, 1, 2));
        LightningCase shape = any.with(any.masked(), true).withLengths(lengths);
        try (LightningCall call = LightningCall.of(shape, dtype()); LightningCall want = call.as(dtype())) {
            want.run(subject());
            call.dinitial = call.dlast;
            call.backward(subject());
            call.last = call.initial;
            call.forward(subject());
            assertSameBits(call.outputs(), want.outputs());
        }
    }

    /** Neither inputs, nor gaps between rows, nor states that no sequence names. */
    @Property(tries = 20)
    default void touchesNothingElse(@ForAll("calls") LightningCase shape) {
        try (LightningCall call = LightningCall.of(shape, dtype()); LightningCall inputs = call.as(dtype())) {
            Tensor nothing = call.tensors.poisoned("nothing", call.stateType, shape.heads(), shape.dk(), shape.dv());
            call.run(subject());
            assertSameBits(call.inputs(), inputs.inputs());
            for (Tensor x : call.outputs()) {
                if (x != call.last && x != call.dinitial) {
                    Tensor copy = call.tensors.copy(x, dtype());
                    x.fill(Double.NaN);
                    Tensor whole = Tensor.of(x.name(), dtype(), x.storage(), 0,
                            gaplessSize(shape, (int) x.dim(2)));
                    for (long i = 0; i < whole.size(); i++) {
                        assertThat(whole.get(i)).as("%s: gap at %d", x, i).isNaN();
                    }
                    x.copyFrom(copy);
                }
            }
            for (int slot = 0; shape.stateful() && slot < call.last.dim(0); slot++) {
                if (!isNamed(call, slot)) {
                    assertSameBits(call.last.select(0, slot), nothing);
                    assertSameBits(call.dinitial.select(0, slot), nothing);
                }
            }
        }
    }

    @Example
    default void namesTheWrongArgument() {
        try (LightningCall call = LightningCall.of(LightningCase.of(1, 2, 3, 4, 5, 6), dtype())) {
            call.dk = call.tensors.zeros("dk", dtype(), 11, 2, 4);
            assertThatThrownBy(() -> call.backward(subject())).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("dk").hasMessageContaining("[11, 2, 4]").hasMessageContaining("[11, 2, 3]");
            call.last = call.tensors.zeros("last", dtype(), 4, 2, 4, 3);
            assertThatThrownBy(() -> call.forward(subject())).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("last").hasMessageContaining("[4, 2, 4, 3]").hasMessageContaining("2, 3, 4");
            call.last = null;
            call.initial = call.states("initial").slice(0, 0, 1);
            call.sequences.clear();
            call.sequences.add(11, 0, 1);
            assertThatThrownBy(() -> call.forward(subject())).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("initial").hasMessageContaining("slot 1");
        }
    }

    /** Fails unless forward and backward of one form are those of another in F64, within the tolerance. */
    default void assertSame(LightningAttention attention, LightningAttention other, LightningCase shape) {
        try (LightningCall call = LightningCall.of(shape, dtype()); LightningCall want = call.as(DType.F64)) {
            assertClose(call.run(attention), want.run(other).outputs());
        }
    }

    /** Fails unless output and final states are those wanted. */
    default void assertForward(Tolerance tolerance, LightningCall got, LightningCall want) {
        List<Tensor> terms = terms(got);
        assertClose(tolerance, got.o, want.o, terms.getFirst());
        assertClose(tolerance, got.last, want.last, terms.get(4));
    }

    private void assertClose(LightningCall got, List<Tensor> want) {
        List<Tensor> terms = terms(got);
        for (int i = 0; i < want.size(); i++) {
            assertClose(tolerance(got.shape), got.outputs().get(i), want.get(i), terms.get(i));
        }
    }

    private void assertClose(Tolerance tolerance, Tensor got, Tensor want, Tensor terms) {
        tolerance.compare(got.name(), got, want, terms, dtype().unitRoundoff()).orThrow();
    }

    /**
     * Σ|terms| of each output: the spec run on inputs without signs. Where a decay, or the whole of it, is smaller than
     * the smallest normal number, that stands for it: numbers below have less than full precision. States that no
     * sequence names: 0.
     */
    private List<Tensor> terms(LightningCall call) {
        double smallest = dtype() == DType.F64 ? Double.MIN_NORMAL : Float.MIN_NORMAL;
        try (LightningCall decayed = call.magnitudes(); LightningCall undecayed = call.magnitudes()) {
            undecayed.rates.fill(0);
            undecayed.run(new LightningRecurrent());
            decayed.run(new LightningRecurrent());
            List<Tensor> terms = new ArrayList<>();
            for (int n = 0; n < decayed.outputs().size(); n++) {
                Tensor x = decayed.outputs().get(n);
                Tensor y = undecayed.outputs().get(n);
                Tensor sum = call.tensors.zeros(x.name(), DType.F64, x.shape());
                for (long i = 0; i < x.size(); i++) {
                    double s = x.getFlat(i) + smallest * (1 + y.getFlat(i));
                    sum.setFlat(i, Double.isNaN(s) ? 0 : s);
                }
                terms.add(sum);
            }
            return terms;
        }
    }

    private static double value(LightningCall call, int t, int h, int j) {
        return call.mask == null || call.mask.getInt(t) != 0 ? call.v.get(t, h, j) : 0;
    }

    private static void add(Tensor a, Tensor b, Tensor sum) {
        for (long i = 0; i < sum.size(); i++) {
            sum.setFlat(i, a.getFlat(i) + b.getFlat(i));
        }
    }

    private static boolean isNamed(LightningCall call, int slot) {
        for (int n = 0; n < call.sequences.count(); n++) {
            if (call.sequences.slot(n) == slot) {
                return true;
            }
        }
        return false;
    }

    /** Elements that a tokens tensor and its gaps take up. */
    private static long gaplessSize(LightningCase shape, int width) {
        return switch (shape.gap()) {
            case 0 -> (long) shape.tokens() * shape.heads() * width;
            case 1 -> shape.tokens() * ((long) shape.heads() * width + 5);
            default -> (long) shape.tokens() * shape.heads() * (width + 3L);
        };
    }
}
