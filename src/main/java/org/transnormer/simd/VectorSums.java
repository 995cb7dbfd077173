package org.transnormer.simd;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Sums over a run of floats in native memory, with the same bits at any vector width, interpreted or compiled. SPEC
 * section 1.3.
 *
 * <p>Element i is added to partial sum i mod {@link Simd#SUM_LANES}, in rising i, products by a fused multiply-add.
 * Then partial sum j takes in j + 16, and of the 16 that are left j takes in j + 1, j + 2, j + 4 and j + 8, in this
 * order. So zeros at the end change nothing.
 *
 * <p>A strip is one pass over the run for partial sums j to j + {@link Simd#LANES} - 1 and their partners j + 16, in
 * two vectors: one strip at 512 bits, two at 256, four at 128. Narrow machines so read the run more than once, from the
 * nearest cache; in turn the methods are small. They call no method with a vector, for the reason given in {@link
 * VectorMath}.
 *
 * <p>Offsets are in bytes, counts in elements.
 */
public final class VectorSums {
    private static final VectorSpecies<Float> F = Simd.FLOAT;
    private static final int HALF = Simd.SUM_LANES / 2;
    private static final VectorShuffle<Float> BY_1 = rotation(1);
    private static final VectorShuffle<Float> BY_2 = rotation(2);
    private static final VectorShuffle<Float> BY_4 = rotation(4);
    private static final VectorShuffle<Float> BY_8 = rotation(8);

    private VectorSums() {
    }

    /** Σ x_i. */
    public static float sum(MemorySegment x, long at, long count) {
        return switch (Simd.LANES) {
            case 16 -> sumStrip(0, x, at, count);
            case 8 -> sumStrip(0, x, at, count) + sumStrip(8, x, at, count);
            default -> sumStrip(0, x, at, count) + sumStrip(4, x, at, count)
                    + (sumStrip(8, x, at, count) + sumStrip(12, x, at, count));
        };
    }

    /** Σ x_i². */
    public static float sumOfSquares(MemorySegment x, long at, long count) {
        return dot(x, at, x, at, count);
    }

    /** Σ x_i y_i. */
    public static float dot(MemorySegment x, long xAt, MemorySegment y, long yAt, long count) {
        return switch (Simd.LANES) {
            case 16 -> dotStrip(0, x, xAt, y, yAt, count);
            case 8 -> dotStrip(0, x, xAt, y, yAt, count) + dotStrip(8, x, xAt, y, yAt, count);
            default -> dotStrip(0, x, xAt, y, yAt, count) + dotStrip(4, x, xAt, y, yAt, count)
                    + (dotStrip(8, x, xAt, y, yAt, count) + dotStrip(12, x, xAt, y, yAt, count));
        };
    }

    /** Σ x_i (y_i z_i), the product in brackets rounded. */
    public static float dot(MemorySegment x, long xAt, MemorySegment y, long yAt, MemorySegment z, long zAt,
            long count) {
        return switch (Simd.LANES) {
            case 16 -> dotStrip(0, x, xAt, y, yAt, z, zAt, count);
            case 8 -> dotStrip(0, x, xAt, y, yAt, z, zAt, count) + dotStrip(8, x, xAt, y, yAt, z, zAt, count);
            default -> dotStrip(0, x, xAt, y, yAt, z, zAt, count) + dotStrip(4, x, xAt, y, yAt, z, zAt, count)
                    + (dotStrip(8, x, xAt, y, yAt, z, zAt, count) + dotStrip(12, x, xAt, y, yAt, z, zAt, count));
        };
    }

    /** Σ (w_i x_i) (y_i z_i), the products in brackets rounded. */
    public static float dot(MemorySegment w, long wAt, MemorySegment x, long xAt, MemorySegment y, long yAt,
            MemorySegment z, long zAt, long count) {
        return switch (Simd.LANES) {
            case 16 -> dotStrip(0, w, wAt, x, xAt, y, yAt, z, zAt, count);
            case 8 -> dotStrip(0, w, wAt, x, xAt, y, yAt, z, zAt, count)
                    + dotStrip(8, w, wAt, x, xAt, y, yAt, z, zAt, count);
            default -> dotStrip(0, w, wAt, x, xAt, y, yAt, z, zAt, count)
                    + dotStrip(4, w, wAt, x, xAt, y, yAt, z, zAt, count)
                    + (dotStrip(8, w, wAt, x, xAt, y, yAt, z, zAt, count)
                            + dotStrip(12, w, wAt, x, xAt, y, yAt, z, zAt, count));
        };
    }

    private static float sumStrip(long first, MemorySegment x, long at, long count) {
        FloatVector low = FloatVector.zero(F);
        FloatVector high = FloatVector.zero(F);
        long i = first;
        for (; i + HALF + Simd.LANES <= count; i += Simd.SUM_LANES) {
            low = low.add(FloatVector.fromMemorySegment(F, x, at + 4 * i, Simd.ORDER));
            high = high.add(FloatVector.fromMemorySegment(F, x, at + 4 * (i + HALF), Simd.ORDER));
        }
        if (i < count) {
            VectorMask<Float> inLow = F.indexInRange(i, count);
            VectorMask<Float> inHigh = F.indexInRange(i + HALF, count);
            low = low.add(FloatVector.fromMemorySegment(F, x, at + 4 * i, Simd.ORDER, inLow));
            high = high.add(FloatVector.fromMemorySegment(F, x, at + 4 * (i + HALF), Simd.ORDER, inHigh));
        }
        FloatVector s = low.add(high);
        s = s.add(s.rearrange(BY_1));
        s = s.add(s.rearrange(BY_2));
        s = Simd.LANES > 4 ? s.add(s.rearrange(BY_4)) : s;
        s = Simd.LANES > 8 ? s.add(s.rearrange(BY_8)) : s;
        return s.lane(0);
    }

    private static float dotStrip(long first, MemorySegment x, long xAt, MemorySegment y, long yAt, long count) {
        FloatVector low = FloatVector.zero(F);
        FloatVector high = FloatVector.zero(F);
        long i = first;
        for (; i + HALF + Simd.LANES <= count; i += Simd.SUM_LANES) {
            low = FloatVector.fromMemorySegment(F, x, xAt + 4 * i, Simd.ORDER)
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * i, Simd.ORDER), low);
            high = FloatVector.fromMemorySegment(F, x, xAt + 4 * (i + HALF), Simd.ORDER)
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * (i + HALF), Simd.ORDER), high);
        }
        if (i < count) {
            VectorMask<Float> inLow = F.indexInRange(i, count);
            VectorMask<Float> inHigh = F.indexInRange(i + HALF, count);
            low = FloatVector.fromMemorySegment(F, x, xAt + 4 * i, Simd.ORDER, inLow)
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * i, Simd.ORDER, inLow), low);
            high = FloatVector.fromMemorySegment(F, x, xAt + 4 * (i + HALF), Simd.ORDER, inHigh)
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * (i + HALF), Simd.ORDER, inHigh), high);
        }
        FloatVector s = low.add(high);
        s = s.add(s.rearrange(BY_1));
        s = s.add(s.rearrange(BY_2));
        s = Simd.LANES > 4 ? s.add(s.rearrange(BY_4)) : s;
        s = Simd.LANES > 8 ? s.add(s.rearrange(BY_8)) : s;
        return s.lane(0);
    }

    private static float dotStrip(long first, MemorySegment x, long xAt, MemorySegment y, long yAt, MemorySegment z,
            long zAt, long count) {
        FloatVector low = FloatVector.zero(F);
        FloatVector high = FloatVector.zero(F);
        long i = first;
        for (; i + HALF + Simd.LANES <= count; i += Simd.SUM_LANES) {
            low = FloatVector.fromMemorySegment(F, x, xAt + 4 * i, Simd.ORDER)
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * i, Simd.ORDER)
                            .mul(FloatVector.fromMemorySegment(F, z, zAt + 4 * i, Simd.ORDER)), low);
            high = FloatVector.fromMemorySegment(F, x, xAt + 4 * (i + HALF), Simd.ORDER)
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * (i + HALF), Simd.ORDER)
                            .mul(FloatVector.fromMemorySegment(F, z, zAt + 4 * (i + HALF), Simd.ORDER)), high);
        }
        if (i < count) {
            VectorMask<Float> inLow = F.indexInRange(i, count);
            VectorMask<Float> inHigh = F.indexInRange(i + HALF, count);
            low = FloatVector.fromMemorySegment(F, x, xAt + 4 * i, Simd.ORDER, inLow)
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * i, Simd.ORDER, inLow)
                            .mul(FloatVector.fromMemorySegment(F, z, zAt + 4 * i, Simd.ORDER, inLow)), low);
            high = FloatVector.fromMemorySegment(F, x, xAt + 4 * (i + HALF), Simd.ORDER, inHigh)
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * (i + HALF), Simd.ORDER, inHigh)
                            .mul(FloatVector.fromMemorySegment(F, z, zAt + 4 * (i + HALF), Simd.ORDER, inHigh)), high);
        }
        FloatVector s = low.add(high);
        s = s.add(s.rearrange(BY_1));
        s = s.add(s.rearrange(BY_2));
        s = Simd.LANES > 4 ? s.add(s.rearrange(BY_4)) : s;
        s = Simd.LANES > 8 ? s.add(s.rearrange(BY_8)) : s;
        return s.lane(0);
    }

    private static float dotStrip(long first, MemorySegment w, long wAt, MemorySegment x, long xAt, MemorySegment y,
            long yAt, MemorySegment z, long zAt, long count) {
        FloatVector low = FloatVector.zero(F);
        FloatVector high = FloatVector.zero(F);
        long i = first;
        for (; i + HALF + Simd.LANES <= count; i += Simd.SUM_LANES) {
            low = FloatVector.fromMemorySegment(F, w, wAt + 4 * i, Simd.ORDER)
                    .mul(FloatVector.fromMemorySegment(F, x, xAt + 4 * i, Simd.ORDER))
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * i, Simd.ORDER)
                            .mul(FloatVector.fromMemorySegment(F, z, zAt + 4 * i, Simd.ORDER)), low);
            high = FloatVector.fromMemorySegment(F, w, wAt + 4 * (i + HALF), Simd.ORDER)
                    .mul(FloatVector.fromMemorySegment(F, x, xAt + 4 * (i + HALF), Simd.ORDER))
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * (i + HALF), Simd.ORDER)
                            .mul(FloatVector.fromMemorySegment(F, z, zAt + 4 * (i + HALF), Simd.ORDER)), high);
        }
        if (i < count) {
            VectorMask<Float> inLow = F.indexInRange(i, count);
            VectorMask<Float> inHigh = F.indexInRange(i + HALF, count);
            low = FloatVector.fromMemorySegment(F, w, wAt + 4 * i, Simd.ORDER, inLow)
                    .mul(FloatVector.fromMemorySegment(F, x, xAt + 4 * i, Simd.ORDER, inLow))
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * i, Simd.ORDER, inLow)
                            .mul(FloatVector.fromMemorySegment(F, z, zAt + 4 * i, Simd.ORDER, inLow)), low);
            high = FloatVector.fromMemorySegment(F, w, wAt + 4 * (i + HALF), Simd.ORDER, inHigh)
                    .mul(FloatVector.fromMemorySegment(F, x, xAt + 4 * (i + HALF), Simd.ORDER, inHigh))
                    .fma(FloatVector.fromMemorySegment(F, y, yAt + 4 * (i + HALF), Simd.ORDER, inHigh)
                            .mul(FloatVector.fromMemorySegment(F, z, zAt + 4 * (i + HALF), Simd.ORDER, inHigh)), high);
        }
        FloatVector s = low.add(high);
        s = s.add(s.rearrange(BY_1));
        s = s.add(s.rearrange(BY_2));
        s = Simd.LANES > 4 ? s.add(s.rearrange(BY_4)) : s;
        s = Simd.LANES > 8 ? s.add(s.rearrange(BY_8)) : s;
        return s.lane(0);
    }

    private static VectorShuffle<Float> rotation(int distance) {
        return VectorShuffle.fromOp(F, i -> (i + distance) % Simd.LANES);
    }
}
