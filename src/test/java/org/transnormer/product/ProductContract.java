package org.transnormer.product;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** What every twin of {@link Product} must do. SPEC section 3.6. */
interface ProductContract {
    /** One rounding of one exact product: half a unit in the last place. */
    Tolerance TOLERANCE = new Tolerance(1, 1);

    record Case(long rows, long columns, long gap, Values values, long seed) {
    }

    Product subject();

    DType dtype();

    @Provide
    default Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.longs().between(1, 40),
                Arbitraries.of(1L, 2L, 7L, 15L, 16L, 17L, 31L, 33L, 100L, 600L), Arbitraries.longs().between(0, 3),
                Arbitraries.of(Values.class), Arbitraries.longs()).as(Case::new);
    }

    @Property(tries = 60)
    default void forwardMatchesTheSpec(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor a = operand(tensors, "a", c);
            Tensor b = operand(tensors, "b", c);
            Tensor y = tensors.strided("y", dtype(), c.gap(), c.rows(), c.columns());
            Tensor want = tensors.zeros("y", DType.F64, c.rows(), c.columns());
            new ProductScalar().forward(tensors.copy(a, DType.F64), tensors.copy(b, DType.F64), want);
            subject().forward(a, b, y);
            TOLERANCE.compare("y", y, want, null, dtype().unitRoundoff()).orThrow();
        }
    }

    @Property(tries = 60)
    default void backwardMatchesTheSpecEvenInPlace(@ForAll("cases") Case c, @ForAll boolean inPlace) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor a = operand(tensors, "a", c);
            Tensor b = operand(tensors, "b", c);
            Tensor dy = operand(tensors, "dy", c);
            Tensor wantA = tensors.zeros("da", DType.F64, c.rows(), c.columns());
            Tensor wantB = tensors.zeros("db", DType.F64, c.rows(), c.columns());
            new ProductScalar().backward(tensors.copy(a, DType.F64), tensors.copy(b, DType.F64),
                    tensors.copy(dy, DType.F64), wantA, wantB);
            Tensor da = inPlace ? a : tensors.strided("da", dtype(), c.gap(), c.rows(), c.columns());
            Tensor db = inPlace ? dy : tensors.strided("db", dtype(), c.gap(), c.rows(), c.columns());
            subject().backward(a, b, dy, da, db);
            TOLERANCE.compare("da", da, wantA, null, dtype().unitRoundoff()).orThrow();
            TOLERANCE.compare("db", db, wantB, null, dtype().unitRoundoff()).orThrow();
        }
    }

    @Property(tries = 60)
    default void backwardAndForwardIsBoth(@ForAll("cases") Case c, @ForAll boolean inPlace) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor a = operand(tensors, "a", c);
            Tensor b = operand(tensors, "b", c);
            Tensor dy = operand(tensors, "dy", c);
            Tensor wantA = tensors.zeros("da", dtype(), c.rows(), c.columns());
            Tensor wantB = tensors.zeros("db", dtype(), c.rows(), c.columns());
            Tensor wantY = tensors.zeros("y", dtype(), c.rows(), c.columns());
            subject().backward(a, b, dy, wantA, wantB);
            subject().forward(a, b, wantY);
            Tensor da = tensors.strided("da", dtype(), c.gap(), c.rows(), c.columns());
            Tensor db = tensors.strided("db", dtype(), c.gap(), c.rows(), c.columns());
            Tensor y = inPlace ? dy : tensors.strided("y", dtype(), c.gap(), c.rows(), c.columns());
            subject().backwardAndForward(a, b, dy, da, db, y);
            for (long i = 0; i < y.size(); i++) {
                assertThat(da.getFlat(i)).isEqualTo(wantA.getFlat(i));
                assertThat(db.getFlat(i)).isEqualTo(wantB.getFlat(i));
                assertThat(y.getFlat(i)).isEqualTo(wantY.getFlat(i));
            }
        }
    }

    @Property(tries = 20)
    default void aZeroGateClosesWhateverIsFinite(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor a = operand(tensors, "a", c);
            Tensor y = tensors.poisoned("y", dtype(), c.rows(), c.columns());
            subject().forward(a, tensors.zeros("b", dtype(), c.rows(), c.columns()), y);
            for (long i = 0; i < y.size(); i++) {
                assertThat(y.getFlat(i)).isZero();
            }
        }
    }

    @Property(tries = 20)
    default void shapesThatDifferAreNamed(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor a = operand(tensors, "a", c);
            Tensor b = tensors.zeros("gate", dtype(), c.rows(), c.columns() + 1);
            assertThat(catchThrowable(() -> subject().forward(a, b, a)))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("gate");
        }
    }

    private Tensor operand(TestTensors tensors, String name, Case c) {
        return tensors.fill(tensors.strided(name, dtype(), c.gap(), c.rows(), c.columns()), c.values());
    }
}
