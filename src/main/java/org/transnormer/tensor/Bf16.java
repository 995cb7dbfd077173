package org.transnormer.tensor;

/** Conversions between binary32 and bfloat16 (the upper half of binary32), round to nearest, ties to even. */
public final class Bf16 {
    private Bf16() {
    }

    /** The value of bfloat16 bits; exact. */
    public static float toFloat(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /** Nearest bfloat16 bits of x; NaN stays a (quiet) NaN, overflow becomes infinity. */
    public static short fromFloat(float x) {
        int bits = Float.floatToRawIntBits(x);
        if (x != x) {
            return (short) (bits >>> 16 | 0x40);
        }
        return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }

    /**
     * Nearest bfloat16 bits of a double, rounded once. Going through {@code (float) x} alone would round twice; where
     * that first rounding is inexact its result is made odd, so that the second rounding sees on which side x lies.
     */
    public static short fromDouble(double x) {
        float near = (float) x;
        if (near != x && !Float.isInfinite(near) && near == near) {
            float towardZero = Math.abs((double) near) > Math.abs(x) ? stepTowardZero(near) : near;
            return fromFloat(Float.intBitsToFloat(Float.floatToRawIntBits(towardZero) | 1));
        }
        return fromFloat(near);
    }

    private static float stepTowardZero(float x) {
        return Float.intBitsToFloat(Float.floatToRawIntBits(x) - 1);
    }
}
