package org.transnormer.srmsnorm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.offset;

import net.jqwik.api.Example;
import org.transnormer.testing.TestTensors;

class RmsNormScalarTest implements RmsNormContract, NormScalarContract {
    @Override
    public Norm subject() {
        return new RmsNormScalar();
    }

    @Example
    void knownValues() {
        try (TestTensors tensors = new TestTensors(1)) {
            NormParameters p = new NormParameters(row(tensors, 2, 10), null);
            // mean squares 12.5 and 1e-5
            assertThat(normOf(tensors, p, 3, -4))
                    .containsExactly(new double[] {6 / Math.sqrt(12.50001), -40 / Math.sqrt(12.50001)}, offset(1e-14));
            double tiny = Math.sqrt(1e-5);
            assertThat(normOf(tensors, p, tiny, tiny))
                    .containsExactly(new double[] {2 * Math.sqrt(0.5), 10 * Math.sqrt(0.5)}, offset(1e-14));
        }
    }
}
