package org.transnormer.srmsnorm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.srmsnorm.NormCase.Inputs;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** What every twin of {@link SrmsNorm} does. SPEC section 3.1. */
interface SrmsNormContract extends NormContract {

    @Override
    default Norm spec() {
        return new SrmsNormScalar();
    }

    @Override
    default NormType type() {
        return NormType.SRMSNORM;
    }

    /** Σ x² has d/32 + 6 roundings in a row, the root halves them; r, x r and the gate's product one each. */
    @Override
    default Tolerance forwardTolerance(long d) {
        return new Tolerance(d / 64.0 + 6, d / 128.0 + 3);
    }

    /** k = r³ Σ x u dy / width: three times the r of above, another sum of d/32 + 7, some products. */
    @Override
    default Tolerance inputTolerance(long d) {
        return new Tolerance(5 * d / 64.0 + 20, 5 * d / 128.0 + 10);
    }

    @Override
    default Tolerance parameterTolerance(long d, long tokens) {
        throw new UnsupportedOperationException("SRMSNorm has no parameters");
    }

    /** Mean square 1 where it was far above ε, and the same y for x of any scale. */
    @Property(tries = 30)
    default void theScaleOfXIsTakenOff(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = tensors.random("x", dtype(), Values.NORMAL, c.tokens(), c.width());
            Tensor scaled = tensors.zeros("x", dtype(), c.tokens(), c.width());
            for (long i = 0; i < x.size(); i++) {
                x.setFlat(i, x.getFlat(i) * 1024);
                scaled.setFlat(i, x.getFlat(i) * -4096);
            }
            Tensor y = tensors.poisoned("y", dtype(), c.tokens(), c.width());
            Tensor scaledY = tensors.poisoned("y", dtype(), c.tokens(), c.width());
            forward(tensors, x, y);
            forward(tensors, scaled, scaledY);
            double slack = 1e-5 + 4 * storage();
            for (long t = 0; t < c.tokens(); t++) {
                double squares = 0;
                double before = 0;
                for (long j = 0; j < c.width(); j++) {
                    squares += y.get(t, j) * y.get(t, j) / c.width();
                    before += x.get(t, j) * x.get(t, j) / c.width();
                    assertThat(scaledY.get(t, j)).isEqualTo(-y.get(t, j), within(slack * Math.abs(y.get(t, j))));
                }
                assertThat(squares).isEqualTo(before / (before + SrmsNorm.EPSILON), within(slack));
            }
        }
    }

    /** Only ε lets y change along x: there dx has next to no component. */
    @Property(tries = 30)
    default void theGradientIsOrthogonalToX(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = tensors.random("x", dtype(), Values.NORMAL, c.tokens(), c.width());
            Tensor dy = tensors.random("dy", dtype(), Values.NORMAL, c.tokens(), c.width());
            for (long i = 0; i < x.size(); i++) {
                x.setFlat(i, x.getFlat(i) * 1024);
            }
            Tensor dx = tensors.poisoned("dx", dtype(), c.tokens(), c.width());
            NormContract.backward(tensors, subject(), statisticsType(), new Inputs(x, NormParameters.NONE, null, dy,
                    null), dx, null, NormParameters.NONE);
            for (long t = 0; t < c.tokens(); t++) {
                double along = 0;
                double terms = 0;
                double squares = 0;
                double product = 0;
                for (long j = 0; j < c.width(); j++) {
                    squares += x.get(t, j) * x.get(t, j);
                    product += Math.abs(x.get(t, j) * dy.get(t, j));
                }
                double r = 1 / Math.sqrt(squares / c.width() + SrmsNorm.EPSILON);
                for (long j = 0; j < c.width(); j++) {
                    along += x.get(t, j) * dx.get(t, j);
                    terms += r * (Math.abs(x.get(t, j) * dy.get(t, j)) + x.get(t, j) * x.get(t, j) * product / squares);
                }
                double epsilonPart = SrmsNorm.EPSILON * r * r;
                assertThat(Math.abs(along)).isLessThanOrEqualTo(
                        (inputTolerance(c.width()).stored(dtype()).c() * dtype().unitRoundoff() + epsilonPart) * terms);
            }
        }
    }

    /** y depends on the set of channels only: reversed channels give reversed results. */
    @Property(tries = 30)
    default void channelsHaveNoOrder(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = tensors.random("x", dtype(), c.values(), c.tokens(), c.width());
            Tensor reversed = tensors.zeros("x", dtype(), c.tokens(), c.width());
            for (long t = 0; t < c.tokens(); t++) {
                for (long j = 0; j < c.width(); j++) {
                    reversed.set(t, c.width() - 1 - j, x.get(t, j));
                }
            }
            Tensor y = tensors.poisoned("y", dtype(), c.tokens(), c.width());
            Tensor reversedY = tensors.poisoned("y", dtype(), c.tokens(), c.width());
            forward(tensors, x, y);
            forward(tensors, reversed, reversedY);
            double bound = 2 * forwardTolerance(c.width()).stored(dtype()).c() * dtype().unitRoundoff();
            for (long t = 0; t < c.tokens(); t++) {
                for (long j = 0; j < c.width(); j++) {
                    assertThat(reversedY.get(t, c.width() - 1 - j)).isEqualTo(y.get(t, j),
                            within(bound * Math.abs(y.get(t, j)) + Float.MIN_VALUE));
                }
            }
        }
    }

    private void forward(TestTensors tensors, Tensor x, Tensor y) {
        NormContract.forward(tensors, subject(), statisticsType(), new Inputs(x, NormParameters.NONE, null, x, null),
                y);
    }
}
