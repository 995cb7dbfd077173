package org.transnormer.lrpe;

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

class LrpeScalarTest implements LrpeContract {
    @Override
    public Lrpe subject() {
        return new LrpeScalar();
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }

    @Override
    public DType thetaType() {
        return DType.F32;
    }

    @Example
    void cosineHalfComesFirst() {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor x = tensors.zeros("x", DType.F64, 1, 1, 2);
            x.set(0, 0, 0, 2);
            x.set(0, 0, 1, 3);
            Tensor theta = tensors.zeros("theta", DType.F64, 1, 2);
            theta.set(0, 0, Math.PI / 2);
            Tensor positions = tensors.zeros("positions", DType.I32, 1);
            positions.setInt(0, 1);
            Tensor y = tensors.poisoned("y", DType.F64, 1, 1, 4);
            subject().forward(x, theta, positions, y);
            assertThat(y.get(0, 0, 0)).isCloseTo(0, within(1e-15));
            assertThat(y.get(0, 0, 1)).isEqualTo(3);
            assertThat(y.get(0, 0, 2)).isEqualTo(2);
            assertThat(y.get(0, 0, 3)).isZero();
        }
    }

    @Property(tries = 20)
    void gradientsMatchFiniteDifferences(@ForAll long seed) {
        LrpeContract.Case c = new LrpeContract.Case(4, 2, 3, 2, 0, Values.NORMAL, seed);
        try (Operands o = new Operands(c, DType.F64, DType.F64)) {
            Tensor dy = o.tensors.random("dy", DType.F64, Values.NORMAL, 4, 2, 6);
            Tensor y = o.tensors.zeros("y", DType.F64, 4, 2, 6);
            Tensor dx = o.tensors.poisoned("dx", DType.F64, 4, 2, 3);
            Tensor dtheta = o.tensors.zeros("dtheta", DType.F64, 2, 3);
            subject().backward(o.x, o.theta, o.positions, dy, dx, dtheta);
            DoubleSupplier loss = () -> {
                subject().forward(o.x, o.theta, o.positions, y);
                double sum = 0;
                for (long i = 0; i < y.size(); i++) {
                    sum += y.getFlat(i) * dy.getFlat(i);
                }
                return sum;
            };
            FiniteDifference.check("dx", loss, o.x, dx, o.tensors.zeros("numeric", DType.F64, 4, 2, 3)).orThrow();
            FiniteDifference.check("dtheta", loss, o.theta, dtheta, o.tensors.zeros("numeric", DType.F64, 2, 3))
                    .orThrow();
        }
    }
}
