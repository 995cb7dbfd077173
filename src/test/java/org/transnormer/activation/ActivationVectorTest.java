package org.transnormer.activation;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.lifecycle.AfterContainer;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

class ActivationVectorTest implements ActivationContract {
    private static final Workers WORKERS = new Workers(2);

    @AfterContainer
    static void stop() {
        WORKERS.close();
    }

    @Override
    public Activation subject() {
        return new ActivationVector(WORKERS);
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    @Property(tries = 33)
    void anyNumberOfThreadsGivesTheSameBits(@ForAll ActivationFunction f, @ForAll long seed) {
        try (TestTensors tensors = new TestTensors(seed); Workers one = new Workers(1);
                Workers three = new Workers(3)) {
            Tensor x = tensors.random("x", DType.F32, Values.NORMAL, 70, 3, 129);
            Tensor dy = tensors.random("dy", DType.F32, Values.NORMAL, 70, 3, 129);
            Tensor a = tensors.poisoned("one", DType.F32, 70, 3, 129);
            Tensor b = tensors.poisoned("three", DType.F32, 70, 3, 129);
            new ActivationVector(one).forward(f, x, a);
            new ActivationVector(three).forward(f, x, b);
            assertThat(b.segment().mismatch(a.segment())).isEqualTo(-1);
            new ActivationVector(one).backward(f, x, dy, a);
            new ActivationVector(three).backward(f, x, dy, b);
            assertThat(b.segment().mismatch(a.segment())).isEqualTo(-1);
        }
    }
}
