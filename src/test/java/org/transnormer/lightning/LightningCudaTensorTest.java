package org.transnormer.lightning;

import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.Tag;
import net.jqwik.api.Tuple;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** BF16 rows of whole 16 bytes, which tensor cores take; of widths that no kernel for one device has for itself. */
@Tag("gpu")
class LightningCudaTensorTest implements LightningContract {
    private static final LightningAttention SUBJECT = OnDevice.wrap(LightningAttention.class, LightningCuda::new);

    @Override
    public LightningAttention subject() {
        return SUBJECT;
    }

    @Override
    public LightningAttention reference() {
        return new LightningRecurrent();
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }

    /** Weighted keys, the state or the scores, and the output: one rounding each; equal values err alike. */
    @Override
    public Tolerance tolerance(LightningCase shape) {
        boolean alike = shape.values() == Values.CONSTANT || shape.values() == Values.OFFSET;
        return new Tolerance(3.25, alike ? 3.25 : 1.5);
    }

    @Override
    @Provide
    public Arbitrary<LightningCase> calls() {
        Arbitrary<Integer> width = Arbitraries.frequencyOf(Tuple.of(3, Arbitraries.of(8, 16, 64)),
                Tuple.of(1, Arbitraries.of(80, 96, 256)));
        Arbitrary<Integer> length = Arbitraries.frequencyOf(Tuple.of(3, Arbitraries.integers().between(1, 9)),
                Tuple.of(1, Arbitraries.of(63, 64, 65, 130)));
        return Combinators.combine(Arbitraries.longs(), Arbitraries.integers().between(1, 2), width, width,
                length.list().ofMinSize(1).ofMaxSize(2), Arbitraries.of(Values.class),
                Arbitraries.integers().between(0, 3))
                .as((seed, heads, dk, dv, lengths, values, flags) -> new LightningCase(seed, heads, dk, dv, lengths,
                        values, 0, (flags & 1) != 0, (flags & 2) != 0));
    }

    /** Of numbers; a NaN reaches all of its chunk. */
    @Override
    @Property(tries = 30)
    public void isCausal(@ForAll("calls") LightningCase shape, @ForAll int anywhere) {
        LightningContract.super.isCausal(shape, anywhere & ~1);
    }

    /** Segments of 512 tokens and more, the last of one token; beside them sequences that are not cut. */
    @Example
    void longSequencesAreCut() {
        for (List<Integer> lengths : List.of(List.of(1537), List.of(3, 1100, 512))) {
            for (int[] width : new int[][] {{64, 64}, {96, 64}, {96, 96}, {192, 96}}) {
                assertSame(SUBJECT, new LightningRecurrent(), new LightningCase(7, 1, width[0], width[1], lengths,
                        Values.NORMAL, 0, true, true));
            }
        }
    }
}
