package org.transnormer.adamw;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** What every twin of {@link GradientNorm} does. SPEC section 3.9. */
interface GradientNormContract {
    /** Two gradients of these sizes. */
    record Case(int first, int second, Values values, long seed) {
    }

    GradientNorm subject();

    /** Element type of the gradients. */
    DType dtype();

    @Provide
    default Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.of(0, 1, 15, 16, 17, 31, 33, 1000), Arbitraries.of(1, 2, 100),
                Arbitraries.of(Values.class), Arbitraries.longs()).as(Case::new);
    }

    /** Squares are exact in double: only the sum of n of them rounds, by n · 2^-53 at most. */
    @Property(tries = 60)
    default void normIsTheSpec(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            Tensor first = tensors.random("first", dtype(), c.values, c.first);
            Tensor second = tensors.random("second", dtype(), c.values, c.second, 1);
            Tensor total = tensors.zeros("total", DType.F64, 1);
            Tensor want = tensors.zeros("want", DType.F64, 1);
            for (Tensor gradient : new Tensor[] {first, second}) {
                subject().partial(gradient, total);
                new GradientNormScalar().partial(gradient, want);
            }
            assertThat(total.get(0)).isCloseTo(want.get(0), within((c.first + c.second) * 0x1p-52 * want.get(0)));
            Tensor norm = tensors.poisoned("norm", DType.F64, 1);
            Tensor clip = tensors.poisoned("clip", DType.F64, 1);
            double limit = Math.sqrt(want.get(0)) / 3;
            subject().apply(total, limit, norm, clip);
            assertThat(norm.get(0)).isEqualTo(Math.sqrt(total.get(0)));
            assertThat(clip.get(0)).isEqualTo(limit == 0 ? 1 : limit / (norm.get(0) + 1e-6));
        }
    }

    @Example
    default void clippingStartsAtTheLimit() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor total = tensors.zeros("total", DType.F64, 1);
            Tensor norm = tensors.zeros("norm", DType.F64, 1);
            Tensor clip = tensors.zeros("clip", DType.F64, 1);
            total.set(0, 9);
            subject().apply(total, 0, norm, clip);
            assertThat(clip.get(0)).isEqualTo(1);
            subject().apply(total, 3.1, norm, clip);
            assertThat(clip.get(0)).isEqualTo(1);
            subject().apply(total, 1.5, norm, clip);
            assertThat(clip.get(0)).isEqualTo(1.5 / (3 + 1e-6));
            assertThat(norm.get(0)).isEqualTo(3);
        }
    }

    @Example
    default void extremeGradientsNeitherOverflowNorVanish() {
        try (TestTensors tensors = new TestTensors(0)) {
            for (double g : new double[] {1e30, 3e38, 1e-30, 1e-45}) {
                Tensor gradient = tensors.zeros("gradient", dtype(), 4);
                gradient.fill(g);
                Tensor total = tensors.zeros("total", DType.F64, 1);
                Tensor norm = tensors.zeros("norm", DType.F64, 1);
                Tensor clip = tensors.zeros("clip", DType.F64, 1);
                subject().partial(gradient, total);
                subject().apply(total, 1, norm, clip);
                assertThat(norm.get(0) / (2 * gradient.get(0))).isCloseTo(1, within(1e-15));
                assertThat(clip.get(0)).isEqualTo(g > 1 ? 1 / (norm.get(0) + 1e-6) : 1);
            }
        }
    }

    @Example
    default void anythingThatIsNotFiniteIsSeenInTheNorm() {
        try (TestTensors tensors = new TestTensors(0)) {
            for (double g : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
                for (long at : new long[] {0, 37, 99}) {
                    Tensor gradient = tensors.zeros("gradient", dtype(), 100);
                    gradient.set(at, g);
                    Tensor total = tensors.zeros("total", DType.F64, 1);
                    Tensor norm = tensors.zeros("norm", DType.F64, 1);
                    Tensor clip = tensors.zeros("clip", DType.F64, 1);
                    subject().partial(gradient, total);
                    subject().apply(total, 1, norm, clip);
                    assertThat(norm.get(0)).isNotFinite();
                }
            }
        }
    }

    @Example
    default void badArgumentsAreNamed() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor total = tensors.zeros("total", DType.F32, 1);
            Tensor wide = tensors.zeros("wide", dtype(), 3, 4);
            assertThatThrownBy(() -> subject().partial(wide, total)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("total is total F32 [1]");
            assertThatThrownBy(() -> subject().partial(wide.slice(1, 0, 2), tensors.zeros("t", DType.F64, 1)))
                    .hasMessageContaining("contiguous");
            Tensor one = tensors.zeros("one", DType.F64, 1);
            assertThatThrownBy(() -> subject().apply(one, -1, one, one)).hasMessageContaining("not -1.0");
        }
    }
}
