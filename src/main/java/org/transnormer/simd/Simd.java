package org.transnormer.simd;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The vector width, chosen once: the widest that the machine has, at most 512 bits, or {@code
 * -Dtnl.vectorBits=128|256|512}. Results do not depend on it: elementwise work is the same in any lane, and sums run in
 * {@link #SUM_LANES} interleaved partial sums, joined in one fixed tree, whatever the width (SPEC section 1.3).
 */
public final class Simd {
    public static final VectorSpecies<Float> FLOAT = species();
    /** Floats in a vector. */
    public static final int LANES = FLOAT.length();
    /** Partial sums of a sum: element i goes to partial sum i mod 32. */
    public static final int SUM_LANES = 32;
    public static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    /** One float of a segment, for the elements that fill no vector. */
    public static final ValueLayout.OfFloat ELEMENT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);

    private Simd() {
    }

    private static VectorSpecies<Float> species() {
        String bits = System.getProperty("tnl.vectorBits");
        if (bits == null) {
            int preferred = FloatVector.SPECIES_PREFERRED.vectorBitSize();
            return VectorSpecies.of(float.class, VectorShape.forBitSize(Math.clamp(preferred, 128, 512)));
        }
        return switch (bits) {
            case "128", "256", "512" ->
                    VectorSpecies.of(float.class, VectorShape.forBitSize(Integer.parseInt(bits)));
            default -> throw new IllegalArgumentException("tnl.vectorBits is 128, 256 or 512, not " + bits);
        };
    }
}
