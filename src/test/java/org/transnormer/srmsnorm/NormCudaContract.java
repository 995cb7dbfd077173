package org.transnormer.srmsnorm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.srmsnorm.NormCase.Inputs;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.Framed;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** What the CUDA twin of every norm does on top: F32 parameters, rows of any width, many rows, the same bits again. */
interface NormCudaContract extends NormContract {
    @Override
    default DType parameterType() {
        return DType.F32;
    }

    /** Several warps to a row, all registers of a block, and more than those. */
    @Provide
    default Arbitrary<NormCase> wide() {
        return Combinators.combine(Arbitraries.of(1L, 3L, 9L),
                Arbitraries.of(512L, 513L, 1024L, 2049L, 4096L, 4097L, 5632L, 8192L, 8193L, 16_400L),
                Arbitraries.of(0L, 8L, 3L), Arbitraries.of(true, false), Arbitraries.of(true, false),
                Arbitraries.of(Values.class), Arbitraries.longs()).as(NormCase::new);
    }

    @Property(tries = 30)
    default void wideRowsMatchTheSpec(@ForAll("wide") NormCase c, @ForAll InPlace inPlace) {
        forwardMatchesTheSpec(c);
        backwardMatchesTheSpec(c, inPlace);
    }

    @Property(tries = 10)
    default void wideRowsAreOnePassOrTwo(@ForAll("wide") NormCase c) {
        onePassIsTheTwo(c);
    }

    /** More rows than there are partial sums of a parameter's gradient. */
    @Property(tries = 4)
    default void manyRowsMatchTheSpec(@ForAll boolean gated, @ForAll long seed) {
        NormCase c = new NormCase(2_500, 40, 0, gated, true, Values.NORMAL, seed);
        forwardMatchesTheSpec(c);
        backwardMatchesTheSpec(c, InPlace.NO);
        onePassIsTheTwo(c);
    }

    @Property(tries = 5)
    default void theSameCallGivesTheSameBits(@ForAll long seed) {
        NormCase c = new NormCase(1_030, 300, 3, true, true, Values.NORMAL, seed);
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype(), parameterType());
            Tensor[] first = gradients(tensors, c, in);
            Tensor[] second = gradients(tensors, c, in);
            for (int i = 0; i < first.length; i++) {
                if (first[i] != null) {
                    NormContract.same(second[i], first[i]);
                }
            }
        }
    }

    private Tensor[] gradients(TestTensors tensors, NormCase c, Inputs in) {
        Tensor dx = c.output(tensors, "dx", dtype());
        Tensor dgate = c.output(tensors, "dgate", dtype());
        NormParameters gradients = NormCase.copy(tensors, in.parameters(), parameterType());
        NormContract.backward(tensors, subject(), statisticsType(), in, dx, dgate, gradients);
        return new Tensor[] {dx, dgate, gradients.weight(), gradients.bias()};
    }

    @Property(tries = 30)
    default void nothingElseIsTouched(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype(), parameterType());
            Framed statistics = framed(tensors, statisticsType(), c, subject().statistics());
            Framed sums = framed(tensors, statisticsType(), c, subject().statistics());
            Framed y = framed(tensors, dtype(), c, c.width());
            Framed dx = framed(tensors, dtype(), c, c.width());
            Framed dgate = framed(tensors, dtype(), c, c.width());
            subject().partial(in.x(), statistics.inside());
            statistics.assertFilled();
            subject().forward(in.x(), statistics.inside(), c.width(), in.parameters(), in.gate(), y.inside());
            statistics.assertFilled();
            y.assertFilled();
            subject().backwardPartial(in.x(), statistics.inside(), c.width(), in.parameters(), in.gate(), in.dy(),
                    sums.inside());
            sums.assertFilled();
            subject().backward(in.x(), statistics.inside(), sums.inside(), c.width(), in.parameters(), in.gate(),
                    in.dy(), in.residual(), dx.inside(), c.gated() ? dgate.inside() : null,
                    NormCase.copy(tensors, in.parameters(), parameterType()));
            dx.assertFilled();
            if (c.gated()) {
                dgate.assertFilled();
            }
        }
    }

    private static Framed framed(TestTensors tensors, DType dtype, NormCase c, long columns) {
        return Framed.of(tensors, "out", dtype, c.gap(), c.tokens(), columns);
    }

    /** A row that is not a number spoils itself alone. */
    @Example
    default void nanStaysInItsRow() {
        NormCase c = new NormCase(5, 70, 0, false, false, Values.NORMAL, 1);
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype(), parameterType());
            in.x().set(2, 69, Double.NaN);
            Tensor y = c.output(tensors, "y", dtype());
            Tensor statistics = tensors.poisoned("statistics", statisticsType(), 5, subject().statistics());
            subject().forward(in.x(), statistics, 70, in.parameters(), null, y);
            for (long t = 0; t < 5; t++) {
                for (long j = 0; j < 70; j++) {
                    assertThat(Double.isNaN(y.get(t, j))).as("y[%d, %d]", t, j).isEqualTo(t == 2);
                }
            }
        }
    }

    @Example
    default void otherTypesAreNamed() {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor x = tensors.zeros("activations", DType.F64, 2, 3);
            Tensor statistics = tensors.zeros("statistics", statisticsType(), 2, subject().statistics());
            assertThatThrownBy(() -> subject().partial(x, statistics)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("activations F64").hasMessageContaining("want F32 or BF16");
        }
    }
}
