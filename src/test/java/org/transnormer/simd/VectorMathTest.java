package org.transnormer.simd;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.SplittableRandom;
import jdk.incubator.vector.FloatVector;
import org.junit.jupiter.api.Test;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.SameBits;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

class VectorMathTest {
    private static final float[] SPECIAL = {0f, -0f, 1f, Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY,
        Float.MIN_VALUE, -Float.MIN_NORMAL, Float.MAX_VALUE, 88.7228f, 88.7229f, 89f, -87.4f, -103.9f, -104f, -105f};

    @Test
    void lanesAgreeWithFloatMath() {
        SplittableRandom random = new SplittableRandom(2);
        float[] x = new float[Simd.LANES];
        float[] exp = new float[Simd.LANES];
        float[] sin = new float[Simd.LANES];
        float[] cos = new float[Simd.LANES];
        for (int trial = 0; trial < 20_000; trial++) {
            for (int i = 0; i < x.length; i++) {
                x[i] = switch (random.nextInt(4)) {
                    case 0 -> Float.intBitsToFloat(random.nextInt());
                    case 1 -> SPECIAL[random.nextInt(SPECIAL.length)];
                    default -> (float) (random.nextGaussian() * 50);
                };
            }
            FloatVector v = FloatVector.fromArray(Simd.FLOAT, x, 0);
            VectorMath.exp(v).intoArray(exp, 0);
            VectorMath.sin(v).intoArray(sin, 0);
            VectorMath.cos(v).intoArray(cos, 0);
            for (int i = 0; i < x.length; i++) {
                assertThat((Float) exp[i]).as("exp(%s)", x[i]).isEqualTo((Float) FloatMath.exp(x[i]));
                assertThat((Float) sin[i]).as("sin(%s)", x[i]).isEqualTo((Float) FloatMath.sin(x[i], 1));
                assertThat((Float) cos[i]).as("cos(%s)", x[i]).isEqualTo((Float) FloatMath.cos(x[i], 1));
            }
        }
    }

    @Test
    void cosSinAgreesWithFloatMathAndStaysInside() {
        try (TestTensors tensors = new TestTensors(3)) {
            for (int count : new int[] {0, 1, 7, 16, 31, 100}) {
                Tensor theta = tensors.random("theta", DType.F32, Values.UNIFORM, 3, count);
                Tensor cos = tensors.strided("cos", DType.F32, 5, 3, count);
                Tensor sin = tensors.strided("sin", DType.F32, 5, 3, count);
                float p = 131_071;
                VectorMath.cosSin(theta.segment(), theta.select(0, 1).byteOffset(), count, p, cos.segment(),
                        cos.select(0, 1).byteOffset(), sin.segment(), sin.select(0, 1).byteOffset());
                for (int i = 0; i < count; i++) {
                    assertThat((float) cos.get(1, i)).isEqualTo(FloatMath.cos((float) theta.get(1, i), p));
                    assertThat((float) sin.get(1, i)).isEqualTo(FloatMath.sin((float) theta.get(1, i), p));
                    assertThat(cos.get(0, i)).isNaN();
                    assertThat(sin.get(2, i)).isNaN();
                }
            }
        }
    }

    @Test
    void bitsAreTheSameEverywhere() {
        SameBits.assertEverywhere(Bits.class, Bits.compute());
    }

    /** Functions and sums of fixed inputs. */
    static final class Bits {
        private Bits() {
        }

        public static void main(String[] args) {
            System.out.print(compute());
        }

        static String compute() {
            try (TestTensors tensors = new TestTensors(4)) {
                StringBuilder out = new StringBuilder();
                Tensor x = tensors.random("x", DType.F32, Values.NORMAL, 4096);
                Tensor exp = tensors.zeros("exp", DType.F32, 4096);
                Tensor sin = tensors.zeros("sin", DType.F32, 4096);
                Tensor cos = tensors.zeros("cos", DType.F32, 4096);
                long step = 4L * Simd.LANES;
                // often enough to be compiled, where that can be
                int repeats = System.getProperty("java.vm.info").contains("interpreted") ? 1 : 20;
                for (int repeat = 0; repeat < repeats; repeat++) {
                    for (long at = 0; at < 4 * 4096; at += step) {
                        FloatVector v = FloatVector.fromMemorySegment(Simd.FLOAT, x.segment(), at, Simd.ORDER).mul(20);
                        VectorMath.exp(v).intoMemorySegment(exp.segment(), at, Simd.ORDER);
                    }
                    VectorMath.cosSin(x.segment(), 0, 4096, 999_983, cos.segment(), 0, sin.segment(), 0);
                }
                out.append(SameBits.checksum(exp)).append(SameBits.checksum(sin)).append(SameBits.checksum(cos));
                Tensor sums = tensors.zeros("sums", DType.F32, 3, 100);
                for (int count = 0; count < 100; count++) {
                    sums.set(0, count, VectorSums.sum(x.segment(), 4, count));
                    sums.set(1, count, VectorSums.dot(x.segment(), 4, exp.segment(), 8, count));
                    sums.set(2, count, VectorSums.dot(x.segment(), 4, sin.segment(), 8, cos.segment(), 12, count));
                }
                return out.append(SameBits.checksum(sums)).toString();
            }
        }
    }
}
