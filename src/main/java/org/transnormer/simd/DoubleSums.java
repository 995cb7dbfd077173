package org.transnormer.simd;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Sums in double of floats in native memory, with the same bits at any vector width: element i is added to partial sum
 * i mod {@link #PARTIALS}, in rising i; then partial sum j takes in j + 8, j + 4, j + 2 and j + 1, in this order. For
 * sums that must not overflow or lose small terms. SPEC section 1.3.
 */
public final class DoubleSums {
    /** One 512-bit vector of floats; narrower ones make several passes. */
    public static final int PARTIALS = 16;
    /** As many bits as {@link Simd#FLOAT}: a vector of floats becomes two of doubles. */
    public static final VectorSpecies<Double> DOUBLE = VectorSpecies.of(double.class, Simd.FLOAT.vectorShape());
    private static final int LANES = Simd.LANES;

    private DoubleSums() {
    }

    /**
     * Σ x_i²; every square is exact.
     *
     * @param at first byte
     * @param partials scratch of {@link #PARTIALS} numbers
     */
    public static double sumOfSquares(MemorySegment x, long at, long count, double[] partials) {
        long whole = count - count % PARTIALS;
        for (int lane = 0; lane < PARTIALS; lane += LANES) {
            DoubleVector low = DoubleVector.zero(DOUBLE);
            DoubleVector high = DoubleVector.zero(DOUBLE);
            for (long i = lane; i < whole; i += PARTIALS) {
                FloatVector v = FloatVector.fromMemorySegment(Simd.FLOAT, x, at + 4 * i, Simd.ORDER);
                DoubleVector first = (DoubleVector) v.convert(VectorOperators.F2D, 0);
                DoubleVector second = (DoubleVector) v.convert(VectorOperators.F2D, 1);
                low = first.fma(first, low);
                high = second.fma(second, high);
            }
            low.intoArray(partials, lane);
            high.intoArray(partials, lane + LANES / 2);
        }
        for (long i = whole; i < count; i++) {
            double element = x.get(Simd.ELEMENT, at + 4 * i);
            partials[(int) (i % PARTIALS)] += element * element;
        }
        return join(partials);
    }

    /** Joins partial sums, which it overwrites. */
    public static double join(double[] partials) {
        for (int distance = PARTIALS / 2; distance > 0; distance /= 2) {
            for (int j = 0; j < distance; j++) {
                partials[j] += partials[j + distance];
            }
        }
        return partials[0];
    }
}
