package org.transnormer.simd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

class DoubleSumsTest {
    /** Bit by bit the order of the documentation, whatever the width. */
    @Property(tries = 40)
    void theOrderIsTheDocumentedOne(@ForAll @IntRange(min = 0, max = 100) int count,
            @ForAll @IntRange(min = 0, max = 3) int offset, @ForAll Values values, @ForAll long seed) {
        try (TestTensors tensors = new TestTensors(seed)) {
            Tensor x = tensors.random("x", DType.F32, values, count + offset);
            double[] partial = new double[16];
            for (int i = 0; i < count; i++) {
                partial[i % 16] += x.get(i + offset) * x.get(i + offset);
            }
            for (int distance : new int[] {8, 4, 2, 1}) {
                for (int j = 0; j < distance; j++) {
                    partial[j] += partial[j + distance];
                }
            }
            double[] scratch = tensors.random().doubles(16).toArray();
            assertThat(DoubleSums.sumOfSquares(x.segment(), 4L * offset, count, scratch)).isEqualTo(partial[0]);
        }
    }

    @Property(tries = 5)
    void neitherOverflowsNorUnderflows(@ForAll @IntRange(min = 1, max = 50) int count) {
        try (TestTensors tensors = new TestTensors(0)) {
            for (float value : new float[] {Float.MAX_VALUE, Float.MIN_VALUE, 1e30f, 1e-30f}) {
                Tensor x = tensors.zeros("x", DType.F32, count);
                x.fill(value);
                double want = count * ((double) value * value);
                assertThat(DoubleSums.sumOfSquares(x.segment(), 0, count, new double[16])).isCloseTo(want,
                        within(1e-14 * want));
            }
        }
    }
}
