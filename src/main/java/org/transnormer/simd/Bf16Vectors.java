package org.transnormer.simd;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.transnormer.tensor.Bf16;

/**
 * A vector of {@link Simd#LANES} floats from and to bfloat16 in memory, with the bits of
 * {@link Bf16}. Small methods, to be inlined where they are called.
 */
public final class Bf16Vectors {
    private static final VectorSpecies<Integer> INT = VectorSpecies.of(int.class, Simd.FLOAT.vectorShape());
    private static final VectorSpecies<Short> SHORT = VectorSpecies.of(short.class,
            VectorShape.forBitSize(Simd.FLOAT.vectorBitSize() / 2));
    private static final ValueLayout.OfShort ELEMENT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(Simd.ORDER);
    private static final int QUIET = 0x40;

    private Bf16Vectors() {
    }

    /** The floats of the bfloat16s from byte {@code at} on; exact. */
    public static FloatVector load(MemorySegment x, long at) {
        IntVector bits = (IntVector) ShortVector.fromMemorySegment(SHORT, x, at, Simd.ORDER)
                .convertShape(VectorOperators.ZERO_EXTEND_S2I, INT, 0);
        return bits.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
    }

    /** The same of one bfloat16. */
    public static float get(MemorySegment x, long at) {
        return Bf16.toFloat(x.get(ELEMENT, at));
    }

    /** Writes the nearest bfloat16s, ties to even, from byte {@code at} on; NaN stays a NaN. */
    public static void store(FloatVector x, MemorySegment y, long at) {
        IntVector bits = x.reinterpretAsInts();
        IntVector upper = bits.lanewise(VectorOperators.LSHR, 16);
        IntVector rounded = bits.add(0x7fff).add(upper.and(1)).lanewise(VectorOperators.LSHR, 16);
        VectorMask<Integer> nan = x.test(VectorOperators.IS_NAN).cast(INT);
        ShortVector result = (ShortVector) rounded.blend(upper.or(QUIET), nan)
                .convertShape(VectorOperators.I2S, SHORT, 0);
        result.intoMemorySegment(y, at, Simd.ORDER);
    }

    /** The same of one float. */
    public static void set(float x, MemorySegment y, long at) {
        y.set(ELEMENT, at, Bf16.fromFloat(x));
    }
}
