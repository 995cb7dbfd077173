package org.transnormer.tensor;

/**
 * Element types. Floating types carry the unit roundoff u (half the distance from 1 to the next number), from which
 * every tolerance is built (SPEC section 1.4).
 */
public enum DType {
    F64(8, 0x1p-53),
    F32(4, 0x1p-24),
    BF16(2, 0x1p-8),
    F16(2, 0x1p-11),
    I32(4, 0);

    private final int bytes;
    private final double unitRoundoff;

    DType(int bytes, double unitRoundoff) {
        this.bytes = bytes;
        this.unitRoundoff = unitRoundoff;
    }

    /** Bytes per element. */
    public int bytes() {
        return bytes;
    }

    /** Unit roundoff u of round-to-nearest; 0 for integers. */
    public double unitRoundoff() {
        return unitRoundoff;
    }

    public boolean isFloat() {
        return this != I32;
    }
}
