package org.transnormer.simd;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.EdgeCasesMode;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

class VectorSumsTest {
    private static final int LANES = Simd.SUM_LANES;

    @Property(tries = 200, edgeCases = EdgeCasesMode.NONE)
    void sumsFollowTheFixedTree(@ForAll @IntRange(max = 300) int count, @ForAll @IntRange(max = 20) int offset,
            @ForAll Values values, @ForAll long seed) {
        try (TestTensors tensors = new TestTensors(seed)) {
            Tensor x = tensors.random("x", DType.F32, values, offset + count).slice(0, offset, offset + count);
            Tensor y = tensors.random("y", DType.F32, values, count);
            Tensor z = tensors.random("z", DType.F32, values, count);
            float[] sum = new float[LANES];
            float[] squares = new float[LANES];
            float[] dot = new float[LANES];
            float[] dot3 = new float[LANES];
            float[] dot4 = new float[LANES];
            for (int i = 0; i < count; i++) {
                float a = (float) x.get(i);
                float b = (float) y.get(i);
                float c = (float) z.get(i);
                sum[i % LANES] += a;
                squares[i % LANES] = Math.fma(a, a, squares[i % LANES]);
                dot[i % LANES] = Math.fma(a, b, dot[i % LANES]);
                dot3[i % LANES] = Math.fma(a, b * c, dot3[i % LANES]);
                dot4[i % LANES] = Math.fma(a * b, c * a, dot4[i % LANES]);
            }
            assertThat(VectorSums.sum(x.segment(), x.byteOffset(), count)).isEqualTo(join(sum));
            assertThat(VectorSums.sumOfSquares(x.segment(), x.byteOffset(), count)).isEqualTo(join(squares));
            assertThat(VectorSums.dot(x.segment(), x.byteOffset(), y.segment(), 0, count)).isEqualTo(join(dot));
            assertThat(VectorSums.dot(x.segment(), x.byteOffset(), y.segment(), 0, z.segment(), 0, count))
                    .isEqualTo(join(dot3));
            assertThat(VectorSums.dot(x.segment(), x.byteOffset(), y.segment(), 0, z.segment(), 0, x.segment(),
                    x.byteOffset(), count)).isEqualTo(join(dot4));
        }
    }

    @Property(tries = 50)
    void sumsAreNearTheExactOnes(@ForAll @IntRange(min = 1, max = 5000) int count, @ForAll long seed) {
        try (TestTensors tensors = new TestTensors(seed)) {
            Tensor x = tensors.random("x", DType.F32, Values.NORMAL, count);
            Tensor y = tensors.random("y", DType.F32, Values.NORMAL, count);
            double exact = 0;
            double terms = 0;
            for (int i = 0; i < count; i++) {
                exact += x.get(i) * y.get(i);
                terms += Math.abs(x.get(i) * y.get(i));
            }
            double got = VectorSums.dot(x.segment(), 0, y.segment(), 0, count);
            // at most count / 32 additions in a row and 5 to join, each off by half an ulp of a partial sum
            assertThat(Math.abs(got - exact)).isLessThan((count / 32 + 6) * 0x1p-24 * terms);
        }
    }

    private static float join(float[] partial) {
        float[] s = partial.clone();
        for (int distance : new int[] {16, 1, 2, 4, 8}) {
            for (int j = 0; j < 16; j++) {
                if (distance == 16 || j % (2 * distance) == 0) {
                    s[j] += s[j + distance];
                }
            }
        }
        return s[0];
    }
}
