package org.transnormer.product;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.function.DoubleSupplier;
import net.jqwik.api.Example;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.FiniteDifference;

class ProductScalarTest implements ProductContract {
    @Override
    public Product subject() {
        return new ProductScalar();
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }

    @Example
    void knownValues() {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor a = tensors.zeros("a", DType.F64, 1, 2);
            Tensor b = tensors.zeros("b", DType.F64, 1, 2);
            a.set(0, 0, 3);
            a.set(0, 1, -0.5);
            b.set(0, 0, 2);
            b.set(0, 1, 8);
            Tensor y = tensors.poisoned("y", DType.F64, 1, 2);
            subject().forward(a, b, y);
            assertThat(List.of(y.get(0, 0), y.get(0, 1))).containsExactly(6.0, -4.0);
        }
    }

    @Example
    void gradientsMatchFiniteDifferences() {
        try (TestTensors tensors = new TestTensors(2)) {
            Tensor a = tensors.random("a", DType.F64, Values.NORMAL, 3, 5);
            Tensor b = tensors.random("b", DType.F64, Values.NORMAL, 3, 5);
            Tensor dy = tensors.random("dy", DType.F64, Values.NORMAL, 3, 5);
            Tensor y = tensors.zeros("y", DType.F64, 3, 5);
            Tensor da = tensors.poisoned("da", DType.F64, 3, 5);
            Tensor db = tensors.poisoned("db", DType.F64, 3, 5);
            subject().backward(a, b, dy, da, db);
            DoubleSupplier loss = () -> {
                subject().forward(a, b, y);
                double sum = 0;
                for (long i = 0; i < y.size(); i++) {
                    sum += y.getFlat(i) * dy.getFlat(i);
                }
                return sum;
            };
            Tensor scratch = tensors.zeros("numeric", DType.F64, 3, 5);
            FiniteDifference.check("da", loss, a, da, scratch).orThrow();
            FiniteDifference.check("db", loss, b, db, scratch).orThrow();
        }
    }
}
