package org.transnormer.srmsnorm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.offset;

import net.jqwik.api.Example;
import org.transnormer.testing.TestTensors;

class SrmsNormScalarTest implements SrmsNormContract, NormScalarContract {
    @Override
    public Norm subject() {
        return new SrmsNormScalar();
    }

    @Example
    void knownValues() {
        try (TestTensors tensors = new TestTensors(1)) {
            NormParameters none = NormParameters.NONE;
            // mean squares 12.5, 0 and 1e-6
            assertThat(normOf(tensors, none, 3, -4)).containsExactly(new double[] {3 / Math.sqrt(12.500001),
                -4 / Math.sqrt(12.500001)}, offset(1e-14));
            assertThat(normOf(tensors, none, 0, 0)).containsExactly(new double[] {0, 0}, offset(1e-14));
            assertThat(normOf(tensors, none, 1e-3, 1e-3)).containsExactly(new double[] {Math.sqrt(0.5), Math.sqrt(0.5)},
                    offset(1e-14));
        }
    }
}
