package org.transnormer.activation;

/** The error function in double, to about 1e-15 relative. */
final class Erf {
    private static final double TWO_OVER_SQRT_PI = 2 / StrictMath.sqrt(StrictMath.PI);
    /** Where the series and the continued fraction are equally cheap. */
    private static final double CROSSOVER = 2.5;
    /** erfc(6) is 2e-17: no longer seen beside 1. */
    private static final double SATURATION = 6;
    private static final int FRACTION_TERMS = 60;

    private Erf() {
    }

    static double erf(double x) {
        double z = Math.abs(x);
        if (z < CROSSOVER) {
            return series(x);
        }
        return z > SATURATION ? Math.signum(x) : Math.signum(x) * (1 - complement(z));
    }

    /** erf(x) = 2/√π e^(-x²) Σ_n 2^n x^(2n+1) / (1·3·…·(2n+1)): all terms of one sign, no cancellation. */
    private static double series(double x) {
        double term = x;
        double sum = x;
        for (int n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }
        return TWO_OVER_SQRT_PI * StrictMath.exp(-x * x) * sum;
    }

    /** erfc(z) = e^(-z²)/√π · 1/(z + (1/2)/(z + (2/2)/(z + (3/2)/(z + …)))), from the inside out. */
    private static double complement(double z) {
        double tail = z;
        for (int n = FRACTION_TERMS; n >= 1; n--) {
            tail = z + n / (2 * tail);
        }
        return TWO_OVER_SQRT_PI / 2 * StrictMath.exp(-z * z) / tail;
    }
}
