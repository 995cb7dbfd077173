package org.transnormer.linear;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** What every twin of {@link Linear} must do: the same as the spec run in F64 on the same inputs. SPEC section 3.4. */
interface LinearContract {
    Linear subject();

    /** Element type of x, y, dy and dx. */
    DType activations();

    /** Element type of b, dw and db. */
    default DType parameters() {
        return activations() == DType.BF16 ? DType.F32 : activations();
    }

    /** Element type of w. */
    DType weights();

    /**
     * Bound for a sum of {@code terms} products. A chain of additions errs by at most u Σ_k |s_k|, s_k its partial sums.
     * Where signs are mixed they stay far below Σ|terms|: 8 and 1 leave a factor of two over what was measured. Where
     * all terms have one sign s_k grows to Σ|terms|: √k if roundings are independent, and k/2, the proven bound, where
     * all terms are equal and every step may round the same way.
     */
    default Tolerance tolerance(Values values, long terms) {
        double root = Math.sqrt(terms);
        return switch (values) {
            case CONSTANT -> new Tolerance(8 + terms / 2.0, 8 + terms / 2.0);
            case OFFSET -> new Tolerance(8 + 1.5 * root + chopped() * terms, 1 + 0.5 * root + chopped() * terms / 2);
            default -> new Tolerance(8 + 2 * chopped() * root, 1 + chopped() * root);
        };
    }

    /**
     * How often a sum is chopped for each of its terms, rather than rounded: a chop takes off 2u |s| at most and u |s| in
     * the mean, s the sum so far, always towards zero.
     */
    default double chopped() {
        return 0;
    }

    /**
     * Bound for what is stored in the activations' type, in its u. BF16: such a sum in F32, and one rounding on write.
     */
    default Tolerance stored(Values values, long terms) {
        Tolerance sum = tolerance(values, terms);
        double f32 = DType.F32.unitRoundoff() / DType.BF16.unitRoundoff();
        return activations() == DType.BF16 ? new Tolerance(1 + sum.c() * f32, 1 + sum.rms() * f32) : sum;
    }

    @Provide
    default Arbitrary<LinearCase> small() {
        return LinearCase.small();
    }

    @Provide
    default Arbitrary<LinearCase> large() {
        return LinearCase.large();
    }

    @Provide
    default Arbitrary<LinearCase> few() {
        return LinearCase.few();
    }

    @Property(tries = 60)
    default void forwardIsTheSpecs(@ForAll("small") LinearCase c) {
        checkForward(c);
    }

    @Property(tries = 20)
    default void forwardIsTheSpecsAcrossBlocks(@ForAll("large") LinearCase c) {
        checkForward(c);
    }

    /** What decoding does, in a way of its own where I is a multiple of 32. */
    @Property(tries = 40)
    default void forwardOfFewTokensIsTheSpecs(@ForAll("few") LinearCase c) {
        checkForward(c);
    }

    @Property(tries = 60)
    default void backwardInputIsTheSpecs(@ForAll("small") LinearCase c) {
        checkBackwardInput(c);
    }

    @Property(tries = 20)
    default void backwardInputIsTheSpecsAcrossBlocks(@ForAll("large") LinearCase c) {
        checkBackwardInput(c);
    }

    @Property(tries = 60)
    default void backwardWeightIsTheSpecs(@ForAll("small") LinearCase c) {
        checkBackwardWeight(c);
    }

    @Property(tries = 20)
    default void backwardWeightIsTheSpecsAcrossBlocks(@ForAll("large") LinearCase c) {
        checkBackwardWeight(c);
    }

    @Property(tries = 30)
    default void residualMayBeTheOutput(@ForAll("small") LinearCase c) {
        try (TestTensors t = new TestTensors(c.seed())) {
            Tensor x = t.random("x", activations(), c.values(), c.tokens(), c.in());
            Tensor w = t.random("w", weights(), c.values(), c.out(), c.in());
            Tensor b = c.bias() ? t.random("b", parameters(), c.values(), c.out()) : null;
            Tensor y = t.random("y", activations(), c.values(), c.tokens(), c.out());
            Tensor want = t.poisoned("want", activations(), c.tokens(), c.out());
            subject().forward(x, w, b, y, want);
            subject().forward(x, w, b, y, y);
            same("y", y, want);
        }
    }

    @Example
    default void emptySumsAndNoTokensAreAllowed() {
        try (TestTensors t = new TestTensors(1)) {
            Tensor dw = t.poisoned("dw", parameters(), 3, 2);
            Tensor db = t.poisoned("db", parameters(), 3);
            Tensor none = t.zeros("x", activations(), 0, 2);
            Tensor nothing = t.zeros("dy", activations(), 0, 3);
            subject().backwardWeight(none, nothing, dw, db, false);
            same("dw", dw, t.zeros("zero", DType.F64, 3, 2));
            same("db", db, t.zeros("zero", DType.F64, 3));
            subject().forward(none, t.zeros("w", weights(), 3, 2), null, null, nothing);
        }
    }

    @Property(tries = 20)
    default void notANumberAndInfinityReachExactlyTheirSums(@ForAll("small") LinearCase c) {
        try (TestTensors t = new TestTensors(c.seed())) {
            Tensor x = t.random("x", activations(), Values.UNIFORM, c.tokens(), c.in());
            Tensor w = t.random("w", weights(), Values.UNIFORM, c.out(), c.in());
            long row = t.random().nextLong(c.tokens());
            long column = t.random().nextLong(c.out());
            x.set(row, t.random().nextLong(c.in()), Double.NaN);
            w.set(column, t.random().nextLong(c.in()), Double.POSITIVE_INFINITY);
            Tensor y = t.poisoned("y", activations(), c.tokens(), c.out());
            subject().forward(x, w, null, null, y);
            for (long i = 0; i < c.tokens(); i++) {
                for (long j = 0; j < c.out(); j++) {
                    double got = y.get(i, j);
                    boolean right = i == row ? Double.isNaN(got) : j == column ? !Double.isFinite(got)
                            : Double.isFinite(got);
                    if (!right) {
                        throw new AssertionError("y[%d, %d] = %s with NaN in row %d of x and infinity in row %d of w"
                                .formatted(i, j, got, row, column));
                    }
                }
            }
        }
    }

    @Example
    default void wrongShapesAreNamed() {
        try (TestTensors t = new TestTensors(1)) {
            Tensor x = t.zeros("x", activations(), 4, 3);
            Tensor w = t.zeros("w", weights(), 2, 3);
            Tensor y = t.zeros("y", activations(), 4, 2);
            Tensor flat = t.zeros("flat", activations(), 8);
            assertThatThrownBy(() -> subject().forward(x, w, null, null, x))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContainingAll("y is", "[4, 3]", "[4, 2]");
            assertThatThrownBy(() -> subject().forward(x, w, flat, null, y))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContainingAll("b is", "[8]", "[2]");
            assertThatThrownBy(() -> subject().forward(x, w, null, x, y))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("residual is");
            assertThatThrownBy(() -> subject().forward(flat, w, null, null, y))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("x is");
            assertThatThrownBy(() -> subject().backwardInput(x, w, x, false))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("dy is");
            assertThatThrownBy(() -> subject().backwardInput(y, w, y, false))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("dx is");
            assertThatThrownBy(() -> subject().backwardWeight(x, y, y, null, false))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("dw is");
            assertThatThrownBy(() -> subject().backwardWeight(x, y, w, flat, false))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("db is");
        }
    }

    private void checkForward(LinearCase c) {
        try (TestTensors t = new TestTensors(c.seed())) {
            Tensor x = t.fill(t.strided("x", activations(), c.gap(), c.tokens(), c.in()), c.values());
            Tensor w = t.fill(t.strided("w", weights(), c.gap(), c.out(), c.in()), c.values());
            Tensor b = c.bias() ? t.random("b", parameters(), c.values(), c.out()) : null;
            Tensor residual = c.add()
                    ? t.fill(t.strided("residual", activations(), c.gap(), c.tokens(), c.out()), c.values()) : null;
            Tensor y = t.strided("y", activations(), c.gap(), c.tokens(), c.out());
            subject().forward(x, w, b, residual, y);

            Linear spec = new LinearScalar();
            Tensor want = t.poisoned("want", DType.F64, c.tokens(), c.out());
            Tensor terms = t.poisoned("terms", DType.F64, c.tokens(), c.out());
            spec.forward(t.copy(x, DType.F64), t.copy(w, DType.F64), copy(t, b), copy(t, residual), want);
            spec.forward(t.magnitude(x), t.magnitude(w), magnitude(t, b), magnitude(t, residual), terms);
            if (b != null && parameters() != activations()) {
                twice(terms, b); // which may have been rounded to the type of y before
                if (residual != null) { // as may the product and it
                    spec.forward(t.magnitude(x), t.magnitude(w), magnitude(t, b), terms, terms);
                }
            }
            stored(c.values(), c.in()).compare("y", y, want, terms, activations().unitRoundoff()).orThrow();
        }
    }

    private void checkBackwardInput(LinearCase c) {
        try (TestTensors t = new TestTensors(c.seed())) {
            Tensor dy = t.fill(t.strided("dy", activations(), c.gap(), c.tokens(), c.out()), c.values());
            Tensor w = t.fill(t.strided("w", weights(), c.gap(), c.out(), c.in()), c.values());
            Tensor dx = t.strided("dx", activations(), c.gap(), c.tokens(), c.in());
            if (c.add()) {
                t.fill(dx, c.values());
            }
            Tensor want = t.copy(dx, DType.F64);
            Tensor terms = t.magnitude(dx);
            subject().backwardInput(dy, w, dx, c.add());

            Linear spec = new LinearScalar();
            spec.backwardInput(t.copy(dy, DType.F64), t.copy(w, DType.F64), want, c.add());
            spec.backwardInput(t.magnitude(dy), t.magnitude(w), terms, c.add());
            stored(c.values(), c.out()).compare("dx", dx, want, terms, activations().unitRoundoff()).orThrow();
        }
    }

    private void checkBackwardWeight(LinearCase c) {
        try (TestTensors t = new TestTensors(c.seed())) {
            Tensor x = t.fill(t.strided("x", activations(), c.gap(), c.tokens(), c.in()), c.values());
            Tensor dy = t.fill(t.strided("dy", activations(), c.gap(), c.tokens(), c.out()), c.values());
            Tensor dw = t.strided("dw", parameters(), c.gap(), c.out(), c.in());
            Tensor db = c.bias() ? t.poisoned("db", parameters(), c.out()) : null;
            if (c.add()) {
                t.fill(dw, c.values());
                if (db != null) {
                    t.fill(db, c.values());
                }
            }
            Tensor wantW = t.copy(dw, DType.F64);
            Tensor termsW = t.magnitude(dw);
            Tensor wantB = copy(t, db);
            Tensor termsB = magnitude(t, db);
            subject().backwardWeight(x, dy, dw, db, c.add());

            Linear spec = new LinearScalar();
            spec.backwardWeight(t.copy(x, DType.F64), t.copy(dy, DType.F64), wantW, wantB, c.add());
            spec.backwardWeight(t.magnitude(x), t.magnitude(dy), termsW, termsB, c.add());
            Tolerance tolerance = tolerance(c.values(), c.tokens());
            double u = parameters().unitRoundoff();
            tolerance.compare("dw", dw, wantW, termsW, u).orThrow();
            if (db != null) {
                tolerance.compare("db", db, wantB, termsB, u).orThrow();
            }
        }
    }

    /** Equal in every element, zeros of either sign alike. */
    static void same(String name, Tensor got, Tensor want) {
        for (long i = 0; i < got.size(); i++) {
            if (got.getFlat(i) != want.getFlat(i)) {
                throw new AssertionError("%s: element %d is %s, want exactly %s".formatted(name, i, got.getFlat(i),
                        want.getFlat(i)));
            }
        }
    }

    private static void twice(Tensor terms, Tensor b) {
        for (long t = 0; t < terms.dim(0); t++) {
            for (long i = 0; i < terms.dim(1); i++) {
                terms.set(t, i, terms.get(t, i) + Math.abs(b.getFlat(i)));
            }
        }
    }

    private static Tensor copy(TestTensors t, Tensor x) {
        return x == null ? null : t.copy(x, DType.F64);
    }

    private static Tensor magnitude(TestTensors t, Tensor x) {
        return x == null ? null : t.magnitude(x);
    }
}
