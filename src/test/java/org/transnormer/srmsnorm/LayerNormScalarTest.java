package org.transnormer.srmsnorm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.offset;

import net.jqwik.api.Example;
import org.transnormer.testing.TestTensors;

class LayerNormScalarTest implements LayerNormContract, NormScalarContract {
    @Override
    public Norm subject() {
        return new LayerNormScalar();
    }

    @Example
    void knownValues() {
        try (TestTensors tensors = new TestTensors(1)) {
            NormParameters p = new NormParameters(row(tensors, 2, 10), row(tensors, 1, -1));
            // mean -0.5, variance 12.25
            assertThat(normOf(tensors, p, 3, -4)).containsExactly(new double[] {7 / Math.sqrt(12.25001) + 1,
                -35 / Math.sqrt(12.25001) - 1}, offset(1e-14));
            assertThat(normOf(tensors, p, 5, 5)).containsExactly(new double[] {1, -1}, offset(1e-14));
        }
    }
}
