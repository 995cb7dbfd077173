package org.transnormer.lightning;

import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Tuple;
import org.transnormer.testing.Values;

/**
 * A generated call: everything else follows from the seed.
 *
 * @param lengths tokens of each sequence
 * @param gap how the rows of q, k, v and their gradients lie: 0 densely, 1 with gaps between tokens, 2 between heads
 * @param masked whether there is a mask
 * @param stateful whether states come in and go out; some sequences have no slot all the same
 */
record LightningCase(long seed, int heads, int dk, int dv, List<Integer> lengths, Values values, int gap,
        boolean masked, boolean stateful) {

    static LightningCase of(long seed, int heads, int dk, int dv, Integer... lengths) {
        return new LightningCase(seed, heads, dk, dv, List.of(lengths), Values.NORMAL, 1, false, true);
    }

    LightningCase with(boolean isMasked, boolean isStateful) {
        return new LightningCase(seed, heads, dk, dv, lengths, values, gap, isMasked, isStateful);
    }

    LightningCase withLengths(List<Integer> others) {
        return new LightningCase(seed, heads, dk, dv, others, values, gap, masked, stateful);
    }

    int tokens() {
        return lengths.stream().mapToInt(Integer::intValue).sum();
    }

    /** Short sequences and such as end near a chunk of 64; narrow heads and such as end near a vector. */
    static Arbitrary<LightningCase> any() {
        return of(anyLength(), Arbitraries.frequencyOf(Tuple.of(2, Arbitraries.integers().between(1, 9)),
                Tuple.of(1, Arbitraries.of(15, 16, 17, 31, 32, 33, 48, 64, 65))), Arbitraries.of(Values.class));
    }

    /** For forms that know no vectors. */
    static Arbitrary<LightningCase> narrow() {
        return of(anyLength(), Arbitraries.integers().between(1, 5), Arbitraries.of(Values.class));
    }

    private static Arbitrary<Integer> anyLength() {
        return Arbitraries.frequencyOf(Tuple.of(3, Arbitraries.integers().between(1, 9)),
                Tuple.of(2, Arbitraries.of(31, 32, 33, 63, 64, 65, 127, 128, 129, 150)));
    }

    /** For finite differences: numbers near 1, and few of them. */
    static Arbitrary<LightningCase> tiny() {
        return of(Arbitraries.integers().between(1, 5), Arbitraries.integers().between(1, 3),
                Arbitraries.of(Values.NORMAL, Values.UNIFORM));
    }

    private static Arbitrary<LightningCase> of(Arbitrary<Integer> length, Arbitrary<Integer> width,
            Arbitrary<Values> values) {
        return Combinators.combine(Arbitraries.longs(), Arbitraries.integers().between(1, 2), width, width,
                length.list().ofMinSize(1).ofMaxSize(3), values, Arbitraries.integers().between(0, 2),
                Arbitraries.integers().between(0, 3))
                .as((seed, heads, dk, dv, lengths, kind, gap, flags) -> new LightningCase(seed, heads, dk, dv, lengths,
                        kind, gap, (flags & 1) != 0, (flags & 2) != 0));
    }
}
