package org.transnormer.activation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.function.DoubleSupplier;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.FiniteDifference;

class ActivationScalarTest implements ActivationContract {
    @Override
    public Activation subject() {
        return new ActivationScalar();
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }

    @Example
    void erfHasItsKnownValues() {
        assertThat(Erf.erf(0)).isZero();
        assertThat(Erf.erf(0.5)).isCloseTo(0.5204998778130465, within(1e-15));
        assertThat(Erf.erf(-1)).isCloseTo(-0.8427007929497149, within(1e-15));
        assertThat(Erf.erf(2.4999)).isCloseTo(Erf.erf(2.5001), within(4.5e-7));
        assertThat(Erf.erf(3)).isCloseTo(0.9999779095030014, within(1e-15));
        assertThat(Erf.erf(40)).isEqualTo(1);
    }

    @Example
    void releasedNamesMeanWhatTheReleasedCodeComputes() {
        assertThat(ActivationFunction.released("swish")).isEqualTo(ActivationFunction.SILU);
        assertThat(ActivationFunction.released("1+elu")).isEqualTo(ActivationFunction.ONE_PLUS_ELU);
        assertThat(ActivationFunction.released("none")).isEqualTo(ActivationFunction.IDENTITY);
        assertThat(ActivationFunction.released("SiLU")).isEqualTo(ActivationFunction.IDENTITY);
    }

    /** EXP holds its maximum fixed, so the loss is taken with that maximum fixed too; kinks are kept away from. */
    @Property(tries = 44)
    void gradientsMatchFiniteDifferences(@ForAll ActivationFunction f, @ForAll long seed) {
        try (TestTensors tensors = new TestTensors(seed)) {
            Tensor x = tensors.random("x", DType.F64, Values.UNIFORM, 2, 1, 6);
            for (long i = 0; i < x.size(); i++) {
                x.setFlat(i, 3 * x.getFlat(i) + Math.signum(x.getFlat(i)) * 0.05);
            }
            double max = f == ActivationFunction.EXP ? 4 : 0;
            if (f == ActivationFunction.EXP) {
                x.set(0, 0, 0, max);
                x.set(1, 0, 0, max);
            }
            Tensor dy = tensors.random("dy", DType.F64, Values.NORMAL, x.shape());
            Tensor dx = tensors.poisoned("dx", DType.F64, x.shape());
            subject().backward(f, x, dy, dx);
            DoubleSupplier loss = () -> {
                double sum = 0;
                for (long i = 0; i < x.size(); i++) {
                    sum += ActivationScalar.value(f, x.getFlat(i) - max) * dy.getFlat(i);
                }
                return sum;
            };
            FiniteDifference.check(f + " dx", loss, x, dx, tensors.zeros("numeric", DType.F64, x.shape())).orThrow();
        }
    }
}
