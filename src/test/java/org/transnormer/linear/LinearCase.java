package org.transnormer.linear;

import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import org.transnormer.testing.Values;

/**
 * One case of the contract; its tensors follow from it.
 *
 * @param tokens T
 * @param in I
 * @param out O
 * @param gap elements between rows
 * @param bias whether there is a bias and its gradient
 * @param add whether there is a residual, and gradients are added to what is there
 */
record LinearCase(long tokens, long in, long out, long gap, boolean bias, boolean add, Values values, long seed) {

    /** Sizes around the edges of tiles (4, 6, 8, 12, 32) and of vectors. */
    static Arbitrary<LinearCase> small() {
        Arbitrary<Long> size =
                Arbitraries.of(1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L, 9L, 11L, 12L, 13L, 16L, 17L, 24L, 25L, 31L,
                        32L, 33L, 47L, 63L, 64L, 65L, 73L);
        return cases(size, size, size, Arbitraries.of(Values.class));
    }

    /** One size around the edges of blocks (128, 512, 1536), the others small. */
    static Arbitrary<LinearCase> large() {
        Arbitrary<Long> small = Arbitraries.of(1L, 3L, 5L, 9L, 14L, 33L);
        Arbitrary<Long> large = Arbitraries.of(127L, 129L, 511L, 512L, 513L, 1024L, 1025L, 1535L, 1536L, 1537L, 3073L);
        Arbitrary<Values> values = Arbitraries.of(Values.class);
        return Arbitraries.oneOf(cases(large, small, small, values), cases(small, large, small, values),
                cases(small, small, large, values));
    }

    /** A few tokens, mostly with I a multiple of 32. */
    static Arbitrary<LinearCase> few() {
        return cases(Arbitraries.of(1L, 2L, 3L, 4L, 5L), Arbitraries.of(32L, 64L, 96L, 100L, 544L),
                Arbitraries.of(1L, 2L, 31L, 130L, 1030L), Arbitraries.of(Values.class));
    }

    private static Arbitrary<LinearCase> cases(Arbitrary<Long> tokens, Arbitrary<Long> in, Arbitrary<Long> out,
            Arbitrary<Values> values) {
        return Combinators.combine(tokens, in, out, Arbitraries.of(0L, 1L, 7L, 32L), Arbitraries.of(true, false),
                Arbitraries.of(true, false), values, Arbitraries.longs()).as(LinearCase::new);
    }
}
