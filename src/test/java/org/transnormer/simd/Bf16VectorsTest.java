package org.transnormer.simd;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.SplittableRandom;
import jdk.incubator.vector.FloatVector;
import org.junit.jupiter.api.Test;
import org.transnormer.tensor.Bf16;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

/** Same bits as the scalar conversions for every kind of float. */
class Bf16VectorsTest {
    private static final int[] EDGES = {0, 0x80000000, 1, 0x00008000, 0x00018000, 0x3f800000, 0x3f808000, 0x3f818000,
        0x3f808001, 0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xff800001,
        0x7fffffff};

    @Test
    void convertsLikeTheScalarMethods() {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor x = tensors.zeros("x", DType.F32, Simd.LANES);
            Tensor y = tensors.zeros("y", DType.BF16, Simd.LANES + 1L);
            SplittableRandom random = new SplittableRandom(2);
            for (int round = 0; round < 500; round++) {
                for (int i = 0; i < Simd.LANES; i++) {
                    int bits = round < 100 ? EDGES[random.nextInt(EDGES.length)] : random.nextInt();
                    x.segment().set(Simd.ELEMENT, 4L * i, Float.intBitsToFloat(bits));
                }
                FloatVector vector = FloatVector.fromMemorySegment(Simd.FLOAT, x.segment(), 0, Simd.ORDER);
                Bf16Vectors.store(vector, y.segment(), 0);
                FloatVector back = Bf16Vectors.load(y.segment(), 0);
                for (int i = 0; i < Simd.LANES; i++) {
                    float element = x.segment().get(Simd.ELEMENT, 4L * i);
                    int want = Float.floatToRawIntBits(Bf16.toFloat(Bf16.fromFloat(element)));
                    assertThat(Float.floatToRawIntBits(Bf16Vectors.get(y.segment(), 2L * i))).isEqualTo(want);
                    assertThat(Float.floatToRawIntBits(back.lane(i))).isEqualTo(want);
                    Bf16Vectors.set(element, y.segment(), 2L * Simd.LANES);
                    assertThat(Float.floatToRawIntBits(Bf16Vectors.get(y.segment(), 2L * Simd.LANES))).isEqualTo(want);
                }
            }
        }
    }
}
