package org.transnormer.random;

/**
 * Pairs of standard normals, block by block, in double. SPEC section 1.6.
 *
 * <pre>
 * u = 1 - f(low),  turn = f(high),  f(x) = (x >>> 11) 2^-53
 * r = √(-2 ln u);  the pair is r cos(2π turn), r sin(2π turn)
 * </pre>
 *
 * ln, cos and sin are made of additions, products, quotients and fused multiply-adds alone, which IEEE 754 defines to the
 * last bit: the same numbers on every machine, several times as fast as {@link StrictMath}. Each step is a loop over the
 * block without branches, so that the compiler makes vector instructions of it.
 */
final class BoxMuller {
    /** Pairs of a block. */
    static final int PAIRS = 256;

    private static final double TWO_PI = 2 * Math.PI;
    private static final double LN2 = 0x1.62e42fefa39efp-1;
    private static final double ROOT2 = 0x1.6a09e667f3bcdp0;
    private static final double LN_ROOT2 = 0x1.62e42fefa39efp-2;
    private static final int FRACTION_BITS = 52;
    private static final long FRACTION = (1L << FRACTION_BITS) - 1;
    private static final int BIAS = 1023;
    private static final long ONE = Double.doubleToRawLongBits(1);
    /** Added and taken off again, it rounds to the nearest whole number: beyond 2^52 there are no fractions. */
    private static final double WHOLE = 0x1.8p52;

    private final Philox.Blocks blocks;
    private final double[] exponents = new double[PAIRS];
    private final double[] radii = new double[PAIRS];
    private final double[] turns = new double[PAIRS];
    private final double[] quarters = new double[PAIRS];
    private final double[] cosines = new double[PAIRS];
    private final double[] sines = new double[PAIRS];

    /** @param key of the stream */
    BoxMuller(long key) {
        blocks = new Philox.Blocks(key, PAIRS);
    }

    /** Makes the pairs first, first + 1, …, {@link #PAIRS} of them. */
    void make(long first) {
        blocks.make(first);
        for (int i = 0; i < PAIRS; i++) {
            long bits = Double.doubleToRawLongBits(1 - fraction(blocks.low(i)));
            exponents[i] = (bits >> FRACTION_BITS) - BIAS;
            radii[i] = Double.longBitsToDouble(bits & FRACTION | ONE);
            turns[i] = fraction(blocks.high(i));
        }
        radius(exponents, radii);
        reduce(turns, quarters);
        circle(turns, cosines, sines);
        turn(radii, quarters, cosines, sines);
    }

    /** r cos φ of pair i. */
    double first(int i) {
        return cosines[i];
    }

    /** r sin φ of pair i. */
    double second(int i) {
        return sines[i];
    }

    private static double fraction(long bits) {
        return (bits >>> 11) * 0x1p-53;
    }

    /** √(-2 ln(m 2^e)), m in [1, 2) replaced; ln m = ln √2 + 2 artanh s, s = (m - √2) / (m + √2), |s| &lt; 0.1716. */
    private static void radius(double[] exponents, double[] m) {
        for (int i = 0; i < PAIRS; i++) {
            double s = (m[i] - ROOT2) / (m[i] + ROOT2);
            double z = s * s;
            double p = 1.0 / 19;
            p = Math.fma(p, z, 1.0 / 17);
            p = Math.fma(p, z, 1.0 / 15);
            p = Math.fma(p, z, 1.0 / 13);
            p = Math.fma(p, z, 1.0 / 11);
            p = Math.fma(p, z, 1.0 / 9);
            p = Math.fma(p, z, 1.0 / 7);
            p = Math.fma(p, z, 1.0 / 5);
            p = Math.fma(p, z, 1.0 / 3);
            double ln = Math.fma(exponents[i], LN2, Math.fma(2 * s * z, p, Math.fma(2, s, LN_ROOT2)));
            // Where u is 1 or next to it, rounding may leave ln u above 0.
            m[i] = Math.sqrt(Math.max(-2 * ln, 0));
        }
    }

    /** Takes the nearest number of quarters, 0 to 4, off each turn; what is left is an angle in [-π/4, π/4]. */
    private static void reduce(double[] turns, double[] quarters) {
        for (int i = 0; i < PAIRS; i++) {
            double n = 4 * turns[i] + WHOLE - WHOLE;
            quarters[i] = n;
            turns[i] = Math.fma(n, -0.25, turns[i]) * TWO_PI;
        }
    }

    /** cos and sin of angles in [-π/4, π/4]. */
    private static void circle(double[] angles, double[] cosines, double[] sines) {
        for (int i = 0; i < PAIRS; i++) {
            double x = angles[i];
            double z = x * x;
            double c = 1 / 20_922_789_888_000.0;
            c = Math.fma(c, z, -1 / 87_178_291_200.0);
            c = Math.fma(c, z, 1 / 479_001_600.0);
            c = Math.fma(c, z, -1 / 3_628_800.0);
            c = Math.fma(c, z, 1 / 40_320.0);
            c = Math.fma(c, z, -1 / 720.0);
            c = Math.fma(c, z, 1 / 24.0);
            c = Math.fma(c, z, -0.5);
            cosines[i] = Math.fma(c, z, 1);
            double s = -1 / 1_307_674_368_000.0;
            s = Math.fma(s, z, 1 / 6_227_020_800.0);
            s = Math.fma(s, z, -1 / 39_916_800.0);
            s = Math.fma(s, z, 1 / 362_880.0);
            s = Math.fma(s, z, -1 / 5_040.0);
            s = Math.fma(s, z, 1 / 120.0);
            s = Math.fma(s, z, -1 / 6.0);
            sines[i] = Math.fma(s * z, x, x);
        }
    }

    /**
     * Turns (cos, sin) by n quarters and makes it as long as the radius. With m = n - 4 [n / 4] in {-1, 0, 1, 2}, a quarter
     * turn's sine is m (2 - |m|) and its cosine 1 - |m|.
     */
    private static void turn(double[] radii, double[] quarters, double[] cosines, double[] sines) {
        for (int i = 0; i < PAIRS; i++) {
            double n = quarters[i];
            double m = Math.fma(0.25 * n + WHOLE - WHOLE, -4, n);
            double s = m * (2 - Math.abs(m));
            double c = 1 - Math.abs(m);
            double x = c * cosines[i] - s * sines[i];
            double y = s * cosines[i] + c * sines[i];
            cosines[i] = radii[i] * x;
            sines[i] = radii[i] * y;
        }
    }
}
