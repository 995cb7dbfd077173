package org.transnormer.srmsnorm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.function.DoubleSupplier;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.srmsnorm.NormCase.Inputs;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.FiniteDifference;
import org.transnormer.verify.Tolerance;

/** What the scalar twin of every norm does on top: it rounds once, and its backward is the derivative. */
interface NormScalarContract extends NormContract {

    @Override
    default DType dtype() {
        return DType.F32;
    }

    @Override
    default DType statisticsType() {
        return DType.F64;
    }

    @Property(tries = 20)
    default void anyTypeIsRoundedOnce(@ForAll("cases") NormCase c, @ForAll boolean half) {
        DType dtype = half ? DType.BF16 : DType.F32;
        Tolerance once = new Tolerance(1, 1);
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype);
            Inputs exact = in.in(tensors, DType.F64);
            Tensor y = c.output(tensors, "y", dtype);
            Tensor dx = c.output(tensors, "dx", dtype);
            Tensor dgate = c.gated() ? c.output(tensors, "dgate", dtype) : null;
            NormParameters got = NormCase.copy(tensors, in.parameters(), dtype);
            NormContract.forward(tensors, subject(), DType.F64, in, y);
            NormContract.backward(tensors, subject(), DType.F64, in, dx, dgate, got);
            Tensor wantY = tensors.poisoned("y", DType.F64, c.tokens(), c.width());
            Tensor wantDx = tensors.poisoned("dx", DType.F64, c.tokens(), c.width());
            Tensor wantDgate = c.gated() ? tensors.poisoned("dgate", DType.F64, c.tokens(), c.width()) : null;
            NormParameters want = NormCase.copy(tensors, in.parameters(), DType.F64);
            NormContract.forward(tensors, subject(), DType.F64, exact, wantY);
            NormContract.backward(tensors, subject(), DType.F64, exact, wantDx, wantDgate, want);
            once.compare("y", y, wantY, null, dtype.unitRoundoff()).orThrow();
            once.compare("dx", dx, wantDx, null, dtype.unitRoundoff()).orThrow();
            if (c.gated()) {
                once.compare("dgate", dgate, wantDgate, null, dtype.unitRoundoff()).orThrow();
            }
            if (type().hasWeight()) {
                once.compare("dweight", got.weight(), want.weight(), null, dtype.unitRoundoff()).orThrow();
            }
            if (type().hasBias()) {
                once.compare("dbias", got.bias(), want.bias(), null, dtype.unitRoundoff()).orThrow();
            }
        }
    }

    @Property(tries = 6)
    default void gradientsAreTheDerivatives(@ForAll long seed, @ForAll boolean gated) {
        NormCase c = new NormCase(3, 5, 0, gated, false, Values.NORMAL, seed);
        try (TestTensors tensors = new TestTensors(seed)) {
            Inputs in = c.inputs(tensors, type(), DType.F64);
            Tensor y = tensors.zeros("y", DType.F64, 3, 5);
            DoubleSupplier loss = () -> {
                NormContract.forward(tensors, subject(), DType.F64, in, y);
                double sum = 0;
                for (long i = 0; i < y.size(); i++) {
                    sum += y.getFlat(i) * in.dy().getFlat(i);
                }
                return sum;
            };
            Tensor dx = tensors.poisoned("dx", DType.F64, 3, 5);
            Tensor dgate = gated ? tensors.poisoned("dgate", DType.F64, 3, 5) : null;
            NormParameters dparameters = new NormParameters(
                    type().hasWeight() ? tensors.zeros("dweight", DType.F64, 5) : null,
                    type().hasBias() ? tensors.zeros("dbias", DType.F64, 5) : null);
            NormContract.backward(tensors, subject(), DType.F64, in, dx, dgate, dparameters);
            check(tensors, loss, in.x(), dx);
            if (gated) {
                check(tensors, loss, in.gate(), dgate);
            }
            if (type().hasWeight()) {
                check(tensors, loss, in.parameters().weight(), dparameters.weight());
            }
            if (type().hasBias()) {
                check(tensors, loss, in.parameters().bias(), dparameters.bias());
            }
        }
    }

    /** Entry by entry, and along a direction. */
    private static void check(TestTensors tensors, DoubleSupplier loss, Tensor x, Tensor gradient) {
        FiniteDifference.check(gradient.name(), loss, x, gradient, tensors.zeros("numeric", DType.F64, x.shape()))
                .orThrow();
        Tensor direction = tensors.random("direction", DType.F64, Values.NORMAL, x.shape());
        double along = 0;
        double largest = 0;
        for (long i = 0; i < x.size(); i++) {
            along += direction.getFlat(i) * gradient.getFlat(i);
            largest = Math.max(largest, Math.abs(gradient.getFlat(i)));
        }
        assertThat(FiniteDifference.directional(loss, x, direction)).isEqualTo(along,
                within(10 * FiniteDifference.TOLERANCE * largest));
    }

    /** The norm of one token with two channels. */
    default double[] normOf(TestTensors tensors, NormParameters parameters, double first, double second) {
        Tensor y = tensors.poisoned("y", DType.F64, 1, 2);
        Tensor x = row(tensors, first, second).reshape(1, 2);
        NormContract.forward(tensors, subject(), DType.F64, new Inputs(x, parameters, null, x, null), y);
        return new double[] {y.get(0, 0), y.get(0, 1)};
    }

    /** A parameter of two channels. */
    default Tensor row(TestTensors tensors, double first, double second) {
        Tensor p = tensors.zeros("parameter", DType.F64, 2);
        p.set(0, first);
        p.set(1, second);
        return p;
    }
}
