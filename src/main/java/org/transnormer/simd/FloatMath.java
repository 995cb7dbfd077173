package org.transnormer.simd;

/**
 * Elementary functions of one float, made of additions, products and fused multiply-adds only: the same bits on any
 * machine, and the same as {@link VectorMath} gives in a lane. Polynomials are minimax fits on the stated interval. SPEC
 * section 1.3.
 *
 * <p>{@code sin(θ, p)} and {@code cos(θ, p)} are of the phase θ·p of a rate θ and a whole position p, which is reduced
 * modulo a turn as a product of θ/2π, known to 48 bits, with p, formed without error. For |p| up to 2^24 the absolute
 * error is at most {@link #PHASE_ERROR} up to |θ p| = 2^22 and twice that up to |θ p| = 2^25; beyond, results mean
 * nothing.
 */
public final class FloatMath {
    /** Largest relative error of exp where the result is a normal number. */
    public static final double EXP_ERROR = 0x1.8p-24;
    /** Largest absolute error of sin and cos of a phase of at most 2^22. */
    public static final double PHASE_ERROR = 1e-7;

    /** Adding 1.5 · 2^23 leaves the nearest whole number, two's complement, in the lowest bits of the significand. */
    static final float ROUND = 0x1.8p23f;
    static final int ROUND_BITS = 0x4b400000;

    /** Adding and subtracting 1.5 · 2^24 rounds to the nearest even number, up to 2^23. */
    static final float ROUND_EVEN = 0x1.8p24f;

    /** e^x is 0 below and infinite above; the bounds keep the exponent in range. */
    static final float EXP_LOW = -104f;
    static final float EXP_HIGH = 89f;
    static final float LOG2_E = 0x1.715476p0f;
    /** ln 2 = LN2_HIGH + LN2_LOW; x - n LN2_HIGH is exact. */
    static final float LN2_HIGH = 0x1.62e43p-1f;
    static final float LN2_LOW = -0x1.05c61p-29f;
    /** e^r = 1 + r + r² (E2 + E3 r + ... + E6 r⁴) for |r| ≤ ln 2 / 2, relative error 3e-9. */
    static final float E2 = 0x1.fffffcp-2f;
    static final float E3 = 0x1.555492p-3f;
    static final float E4 = 0x1.5558f2p-5f;
    static final float E5 = 0x1.1239e2p-7f;
    static final float E6 = 0x1.6a2434p-10f;

    /** 1 / 2π = TURN_HIGH + TURN_LOW. */
    static final float TURN_HIGH = 0x1.45f306p-3f;
    static final float TURN_LOW = 0x1.b9391p-28f;
    /** π / 2 = QUARTER_HIGH + QUARTER_LOW. */
    static final float QUARTER_HIGH = 0x1.921fb6p0f;
    static final float QUARTER_LOW = -0x1.777a5cp-25f;
    /** sin r = r + r³ (S3 + S5 r² + S7 r⁴) for |r| ≤ π / 4, error 4e-9. */
    static final float S3 = -0x1.555546p-3f;
    static final float S5 = 0x1.110756p-7f;
    static final float S7 = -0x1.994b4p-13f;
    /** cos r = 1 + r² (-1/2 + r² (C4 + C6 r² + C8 r⁴)) for |r| ≤ π / 4, error 1e-10. */
    static final float C4 = 0x1.55554ap-5f;
    static final float C6 = -0x1.6c0c82p-10f;
    static final float C8 = 0x1.99ff4p-16f;

    private FloatMath() {
    }

    /**
     * e^x. Relative error at most {@link #EXP_ERROR}; results below 2^-126 underflow gradually (error one smallest
     * denormal), below 2^-150 to 0; above the largest float infinity; NaN gives NaN.
     */
    public static float exp(float x) {
        float z = x < EXP_LOW ? EXP_LOW : x > EXP_HIGH ? EXP_HIGH : x;
        float rounded = Math.fma(z, LOG2_E, ROUND);
        float n = rounded - ROUND;
        float r = Math.fma(n, -LN2_LOW, Math.fma(n, -LN2_HIGH, z));
        float p = Math.fma(r, Math.fma(r, Math.fma(r, Math.fma(r, E6, E5), E4), E3), E2);
        float e = Math.fma(r * r, p, r) + 1;
        // 2^n in two factors: n reaches from -150 to 128, further than one exponent
        int whole = Float.floatToRawIntBits(rounded) - ROUND_BITS;
        int half = whole >> 1;
        return e * powerOfTwo(half) * powerOfTwo(whole - half);
    }

    /** sin(θ p). */
    public static float sin(float theta, float p) {
        float high = theta * TURN_HIGH;
        float low = Math.fma(theta, TURN_LOW, Math.fma(theta, TURN_HIGH, -high));
        float fraction = fraction(high, p);
        float rest = rest(high, low, p);
        float n = quarters(fraction, rest);
        float r = residue(fraction, rest, n);
        float m = modulo4(n);
        return Math.fma(sinPolynomial(r), 1 - Math.abs(m), cosPolynomial(r) * (m * (2 - Math.abs(m))));
    }

    /** cos(θ p). */
    public static float cos(float theta, float p) {
        float high = theta * TURN_HIGH;
        float low = Math.fma(theta, TURN_LOW, Math.fma(theta, TURN_HIGH, -high));
        float fraction = fraction(high, p);
        float rest = rest(high, low, p);
        float n = quarters(fraction, rest);
        float r = residue(fraction, rest, n);
        float m = modulo4(n);
        return Math.fma(cosPolynomial(r), 1 - Math.abs(m), sinPolynomial(r) * (m * (Math.abs(m) - 2)));
    }

    /** high · p, rounded, less the nearest even number: -1 to 1 turns. */
    private static float fraction(float high, float p) {
        float product = high * p;
        return product - (product + ROUND_EVEN - ROUND_EVEN);
    }

    /** What {@code fraction} misses of (high + low) · p. */
    private static float rest(float high, float low, float p) {
        return Math.fma(low, p, Math.fma(high, p, -(high * p)));
    }

    /** Nearest whole number of quarter turns. */
    private static float quarters(float fraction, float rest) {
        return Math.fma(fraction + rest, 4, ROUND) - ROUND;
    }

    /** What is left beyond n quarter turns, in radians, between -π/4 and π/4. */
    private static float residue(float fraction, float rest, float n) {
        float quarters = Math.fma(rest, 4, Math.fma(fraction, 4, -n));
        return Math.fma(quarters, QUARTER_HIGH, quarters * QUARTER_LOW);
    }

    /** n less a multiple of 4: m from -2 to 2. The sine of m quarter turns is m (2 - |m|), the cosine 1 - |m|. */
    private static float modulo4(float n) {
        return Math.fma(Math.fma(n, 0.25f, ROUND) - ROUND, -4, n);
    }

    private static float sinPolynomial(float r) {
        float z = r * r;
        return Math.fma(z * r, Math.fma(z, Math.fma(z, S7, S5), S3), r);
    }

    private static float cosPolynomial(float r) {
        float z = r * r;
        return Math.fma(z, Math.fma(z, Math.fma(z, Math.fma(z, C8, C6), C4), -0.5f), 1);
    }

    private static float powerOfTwo(int n) {
        return Float.intBitsToFloat(n + 127 << 23);
    }
}
