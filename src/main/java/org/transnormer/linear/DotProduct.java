package org.transnormer.linear;

import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.ZERO_EXTEND_S2I;
import static org.transnormer.simd.Simd.FLOAT;
import static org.transnormer.simd.Simd.LANES;
import static org.transnormer.simd.Simd.ORDER;
import static org.transnormer.simd.Simd.SUM_LANES;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * The dot product of a row of weights with a token, in 32 interleaved partial sums: k goes to partial sum k mod 32, each
 * a chain of fused multiply-adds from zero. At the end 16, then 8, 4, 2 and 1 of them are added to as many before them.
 */
final class DotProduct {
    private static final long VECTOR = LANES * 4L;
    private static final long HALF = LANES * 2L;
    private static final VectorSpecies<Integer> INTS = FLOAT.withLanes(int.class);
    private static final VectorSpecies<Short> HALVES =
            VectorSpecies.of(short.class, VectorShape.forBitSize(LANES * 16));
    private static final VectorShuffle<Float> BY_EIGHT = rotation(8);
    private static final VectorShuffle<Float> BY_FOUR = rotation(4);
    private static final VectorShuffle<Float> BY_TWO = rotation(2);
    private static final VectorShuffle<Float> BY_ONE = rotation(1);
    /** See {@link Kernel}. */
    @SuppressWarnings("unchecked")
    private static final Class<FloatVector> EXACT = (Class<FloatVector>) (Class<?>) FLOAT.vectorType();

    private DotProduct() {}

    /**
     * With F32 weights.
     *
     * @param w weights from {@code at} on
     * @param x activations from {@code xAt} on
     * @param depth number of k, a multiple of 32
     */
    static float f32(MemorySegment w, long at, MemorySegment x, long xAt, long depth) {
        FloatVector s0 = FloatVector.zero(FLOAT);
        FloatVector s1 = FloatVector.zero(FLOAT);
        FloatVector s2 = FloatVector.zero(FLOAT);
        FloatVector s3 = FloatVector.zero(FLOAT);
        FloatVector s4 = FloatVector.zero(FLOAT);
        FloatVector s5 = FloatVector.zero(FLOAT);
        FloatVector s6 = FloatVector.zero(FLOAT);
        FloatVector s7 = FloatVector.zero(FLOAT);
        for (long k = 0; k < depth; k += SUM_LANES) {
            long wk = at + k * 4;
            long xk = xAt + k * 4;
            s0 = FloatVector.fromMemorySegment(FLOAT, w, wk, ORDER)
                    .fma(FloatVector.fromMemorySegment(FLOAT, x, xk, ORDER), s0);
            s1 = FloatVector.fromMemorySegment(FLOAT, w, wk + VECTOR, ORDER)
                    .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + VECTOR, ORDER), s1);
            if (LANES <= 8) {
                s2 = FloatVector.fromMemorySegment(FLOAT, w, wk + 2 * VECTOR, ORDER)
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 2 * VECTOR, ORDER), s2);
                s3 = FloatVector.fromMemorySegment(FLOAT, w, wk + 3 * VECTOR, ORDER)
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 3 * VECTOR, ORDER), s3);
            }
            if (LANES == 4) {
                s4 = FloatVector.fromMemorySegment(FLOAT, w, wk + 4 * VECTOR, ORDER)
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 4 * VECTOR, ORDER), s4);
                s5 = FloatVector.fromMemorySegment(FLOAT, w, wk + 5 * VECTOR, ORDER)
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 5 * VECTOR, ORDER), s5);
                s6 = FloatVector.fromMemorySegment(FLOAT, w, wk + 6 * VECTOR, ORDER)
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 6 * VECTOR, ORDER), s6);
                s7 = FloatVector.fromMemorySegment(FLOAT, w, wk + 7 * VECTOR, ORDER)
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 7 * VECTOR, ORDER), s7);
            }
        }
        FloatVector sum = EXACT.cast(s0);
        if (LANES == 16) {
            sum = sum.add(s1);
            sum = sum.add(sum.rearrange(BY_EIGHT));
        } else if (LANES == 8) {
            sum = sum.add(s2).add(EXACT.cast(s1).add(s3));
        } else {
            sum = sum.add(s4).add(EXACT.cast(s2).add(s6));
            sum = sum.add(EXACT.cast(s1).add(s5).add(EXACT.cast(s3).add(s7)));
        }
        if (LANES >= 8) {
            sum = sum.add(sum.rearrange(BY_FOUR));
        }
        sum = sum.add(sum.rearrange(BY_TWO));
        return sum.add(sum.rearrange(BY_ONE)).lane(0);
    }

    /** With BF16 weights. */
    static float bf16(MemorySegment w, long at, MemorySegment x, long xAt, long depth) {
        FloatVector s0 = FloatVector.zero(FLOAT);
        FloatVector s1 = FloatVector.zero(FLOAT);
        FloatVector s2 = FloatVector.zero(FLOAT);
        FloatVector s3 = FloatVector.zero(FLOAT);
        FloatVector s4 = FloatVector.zero(FLOAT);
        FloatVector s5 = FloatVector.zero(FLOAT);
        FloatVector s6 = FloatVector.zero(FLOAT);
        FloatVector s7 = FloatVector.zero(FLOAT);
        for (long k = 0; k < depth; k += SUM_LANES) {
            long wk = at + k * 2;
            long xk = xAt + k * 4;
            s0 = ((IntVector) ShortVector.fromMemorySegment(HALVES, w, wk, ORDER)
                    .convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                    .fma(FloatVector.fromMemorySegment(FLOAT, x, xk, ORDER), s0);
            s1 = ((IntVector) ShortVector.fromMemorySegment(HALVES, w, wk + HALF, ORDER)
                    .convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                    .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + VECTOR, ORDER), s1);
            if (LANES <= 8) {
                s2 = ((IntVector) ShortVector.fromMemorySegment(HALVES, w, wk + 2 * HALF, ORDER)
                        .convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 2 * VECTOR, ORDER), s2);
                s3 = ((IntVector) ShortVector.fromMemorySegment(HALVES, w, wk + 3 * HALF, ORDER)
                        .convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 3 * VECTOR, ORDER), s3);
            }
            if (LANES == 4) {
                s4 = ((IntVector) ShortVector.fromMemorySegment(HALVES, w, wk + 4 * HALF, ORDER)
                        .convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 4 * VECTOR, ORDER), s4);
                s5 = ((IntVector) ShortVector.fromMemorySegment(HALVES, w, wk + 5 * HALF, ORDER)
                        .convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 5 * VECTOR, ORDER), s5);
                s6 = ((IntVector) ShortVector.fromMemorySegment(HALVES, w, wk + 6 * HALF, ORDER)
                        .convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 6 * VECTOR, ORDER), s6);
                s7 = ((IntVector) ShortVector.fromMemorySegment(HALVES, w, wk + 7 * HALF, ORDER)
                        .convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                        .fma(FloatVector.fromMemorySegment(FLOAT, x, xk + 7 * VECTOR, ORDER), s7);
            }
        }
        FloatVector sum = EXACT.cast(s0);
        if (LANES == 16) {
            sum = sum.add(s1);
            sum = sum.add(sum.rearrange(BY_EIGHT));
        } else if (LANES == 8) {
            sum = sum.add(s2).add(EXACT.cast(s1).add(s3));
        } else {
            sum = sum.add(s4).add(EXACT.cast(s2).add(s6));
            sum = sum.add(EXACT.cast(s1).add(s5).add(EXACT.cast(s3).add(s7)));
        }
        if (LANES >= 8) {
            sum = sum.add(sum.rearrange(BY_FOUR));
        }
        sum = sum.add(sum.rearrange(BY_TWO));
        return sum.add(sum.rearrange(BY_ONE)).lane(0);
    }

    /** Lane i from lane i + n. */
    private static VectorShuffle<Float> rotation(int n) {
        return VectorShuffle.iota(FLOAT, n, 1, true);
    }
}
