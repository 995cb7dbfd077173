package org.transnormer.tensor;

/** Conversion from double to binary16 with one rounding (to nearest, ties to even). */
final class F16 {
    private F16() {
    }

    /** Rounds to odd in binary32 first, so that the rounding to binary16 sees on which side of a tie x lies. */
    static short fromDouble(double x) {
        float near = (float) x;
        if (near != x && !Float.isInfinite(near) && near == near) {
            int bits = Float.floatToRawIntBits(near);
            int towardZero = Math.abs((double) near) > Math.abs(x) ? bits - 1 : bits;
            return Float.floatToFloat16(Float.intBitsToFloat(towardZero | 1));
        }
        return Float.floatToFloat16(near);
    }
}
