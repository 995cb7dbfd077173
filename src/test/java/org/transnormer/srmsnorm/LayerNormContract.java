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

/** What every twin of {@link LayerNorm} does. SPEC section 3.1. */
interface LayerNormContract extends NormContract {

    @Override
    default Norm spec() {
        return new LayerNormScalar();
    }

    @Override
    default NormType type() {
        return NormType.LAYERNORM;
    }

    /** Statistics are F64. x̂ takes four roundings, weight and bias one, the gate one. */
    @Override
    default Tolerance forwardTolerance(long d) {
        return new Tolerance(7, 3.5);
    }

    /** x̂, then its factor, the products of g, the two that are added: ten. */
    @Override
    default Tolerance inputTolerance(long d) {
        return new Tolerance(10, 5);
    }

    /** x̂ and u dy, then 64 additions in a row within a partial sum and tokens / 64 to join them. */
    @Override
    default Tolerance parameterTolerance(long d, long tokens) {
        double c = 7 + Math.min(tokens, 64) + tokens / 64.0;
        return new Tolerance(c, c / 2);
    }

    /** Without weight and bias: mean 0, variance 1, whatever the offset and scale of x. */
    @Property(tries = 30)
    default void meanAndScaleAreTakenOff(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = tensors.random("x", dtype(), Values.OFFSET, c.tokens(), c.width());
            Tensor y = tensors.poisoned("y", dtype(), c.tokens(), c.width());
            NormContract.forward(tensors, subject(), statisticsType(),
                    new Inputs(x, plain(tensors, c.width()), null, x, null), y);
            for (long t = 0; t < c.tokens(); t++) {
                double sum = 0;
                double squares = 0;
                double mean = 0;
                double variance = 0;
                for (long j = 0; j < c.width(); j++) {
                    mean += x.get(t, j) / c.width();
                    sum += y.get(t, j) / c.width();
                    squares += y.get(t, j) * y.get(t, j) / c.width();
                }
                for (long j = 0; j < c.width(); j++) {
                    variance += (x.get(t, j) - mean) * (x.get(t, j) - mean) / c.width();
                }
                assertThat(sum).isEqualTo(0, within(1e-6 + storage()));
                assertThat(squares).isEqualTo(variance / (variance + LayerNorm.EPSILON), within(1e-5 + 4 * storage()));
            }
        }
    }

    /** y does not change when all of x moves: dx sums to 0. */
    @Property(tries = 30)
    default void theGradientSumsToZero(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = tensors.random("x", dtype(), Values.NORMAL, c.tokens(), c.width());
            Tensor dy = tensors.random("dy", dtype(), Values.NORMAL, c.tokens(), c.width());
            Tensor dx = tensors.poisoned("dx", dtype(), c.tokens(), c.width());
            NormParameters parameters = plain(tensors, c.width());
            NormContract.backward(tensors, subject(), statisticsType(), new Inputs(x, parameters, null, dy, null), dx,
                    null, NormCase.copy(tensors, parameters, parameterType()));
            for (long t = 0; t < c.tokens(); t++) {
                double sum = 0;
                double terms = 0;
                for (long j = 0; j < c.width(); j++) {
                    sum += dx.get(t, j);
                    terms += Math.abs(dx.get(t, j)) + 1 / Math.sqrt(LayerNorm.EPSILON);
                }
                assertThat(Math.abs(sum)).isLessThan((1e-6 + storage()) * terms);
            }
        }
    }

    /** Equal channels have variance 0, though the rounded difference of its two parts may be negative. */
    @Property(tries = 30)
    default void equalChannelsGiveTheBias(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = tensors.zeros("x", dtype(), c.tokens(), c.width());
            x.fill(1e7 * tensors.random().nextDouble());
            Tensor y = tensors.poisoned("y", dtype(), c.tokens(), c.width());
            NormContract.forward(tensors, subject(), statisticsType(),
                    new Inputs(x, plain(tensors, c.width()), null, x, null), y);
            for (long i = 0; i < y.size(); i++) {
                assertThat(y.getFlat(i)).isEqualTo(0, within(1e-3));
            }
        }
    }

    /** So many that Σ x² is rounded, which makes a difference of 0 a negative one. */
    @Property(tries = 10)
    default void manyEqualChannelsGiveTheBias(@ForAll long seed) {
        equalChannelsGiveTheBias(new NormCase(3, 5_001, 0, false, false, Values.CONSTANT, seed));
    }

    private NormParameters plain(TestTensors tensors, long width) {
        Tensor ones = tensors.zeros("weight", parameterType(), width);
        ones.fill(1);
        return new NormParameters(ones, tensors.zeros("bias", parameterType(), width));
    }
}
