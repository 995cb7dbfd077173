package org.transnormer.activation;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** What the CUDA twin of {@link Activation} does on top. */
interface ActivationCudaContract extends ActivationContract {

    /** A NaN is never hidden: not by a comparison, and not by a maximum. */
    @Property(tries = 33)
    default void nanStaysNan(@ForAll ActivationFunction f) {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor x = tensors.random("x", dtype(), Values.NORMAL, 3, 2, 70);
            x.set(1, 1, 69, Double.NaN);
            Tensor y = tensors.poisoned("y", dtype(), x.shape());
            subject().forward(f, x, y);
            for (long i = 0; i < x.size(); i++) {
                boolean spoiled = f == ActivationFunction.EXP ? i / 70 == 3 : i == 3 * 70 + 69;
                assertThat(Double.isNaN(y.getFlat(i))).as("%s y[%d]", f, i).isEqualTo(spoiled);
            }
        }
    }
}
