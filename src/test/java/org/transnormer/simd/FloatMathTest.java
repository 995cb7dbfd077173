package org.transnormer.simd;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class FloatMathTest {
    @Test
    void expIsWithinItsErrorOverTheWholeRange() {
        double worst = 0;
        for (long bits = 0; bits < 1L << 32; bits += 4099) {
            float x = Float.intBitsToFloat((int) bits);
            if (Float.isNaN(x)) {
                assertThat(FloatMath.exp(x)).isNaN();
                continue;
            }
            double want = StrictMath.exp(x);
            float got = FloatMath.exp(x);
            if (want > Float.MAX_VALUE * (1 + 0x1p-25)) {
                assertThat(got).as("exp(%s)", x).isEqualTo(Float.POSITIVE_INFINITY);
            } else if (want >= Float.MIN_NORMAL) {
                worst = Math.max(worst, Math.abs(got - want) / want);
            } else {
                assertThat(Math.abs(got - want)).as("exp(%s)", x).isLessThanOrEqualTo(Float.MIN_VALUE);
            }
        }
        for (int i = 0; i < 1_000_000; i++) {
            float x = -87 + i * 175.7e-6f;
            double want = StrictMath.exp(x);
            worst = Math.max(worst, Math.abs(FloatMath.exp(x) - want) / want);
        }
        assertThat(worst).isLessThan(FloatMath.EXP_ERROR);
    }

    @Test
    void expOfSpecialValues() {
        assertThat(FloatMath.exp(0f)).isEqualTo(1f);
        assertThat(FloatMath.exp(-0f)).isEqualTo(1f);
        assertThat(FloatMath.exp(Float.NaN)).isNaN();
        assertThat(FloatMath.exp(Float.POSITIVE_INFINITY)).isEqualTo(Float.POSITIVE_INFINITY);
        assertThat(FloatMath.exp(Float.NEGATIVE_INFINITY)).isZero();
        assertThat(FloatMath.exp(88.7228f)).isFinite().isGreaterThan(3.4e38f);
        assertThat(FloatMath.exp(88.7229f)).isInfinite();
        assertThat(FloatMath.exp(-103.9f)).isEqualTo(Float.MIN_VALUE);
        assertThat(FloatMath.exp(-104f)).isZero();
    }

    @Test
    void sinAndCosOfPhasesAreWithinTheirError() {
        SplittableRandom random = new SplittableRandom(1);
        double worst = 0;
        double worstFar = 0;
        for (int i = 0; i < 1_000_000; i++) {
            int p = random.nextInt(1 << random.nextInt(1, 25));
            float theta = (float) ((random.nextBoolean() ? 1 : -1) * StrictMath.pow(10, -9 * random.nextDouble()) * 2);
            double phase = (double) theta * p;
            double error = Math.max(Math.abs(FloatMath.sin(theta, p) - StrictMath.sin(phase)),
                    Math.abs(FloatMath.cos(theta, p) - StrictMath.cos(phase)));
            if (Math.abs(phase) <= 1 << 22) {
                worst = Math.max(worst, error);
            } else if (Math.abs(phase) <= 1 << 25) {
                worstFar = Math.max(worstFar, error);
            }
        }
        assertThat(worst).isLessThan(FloatMath.PHASE_ERROR);
        assertThat(worstFar).isLessThan(2 * FloatMath.PHASE_ERROR);
    }

    @Test
    void sinAndCosNearMultiplesOfAQuarterTurn() {
        for (int n = -100_000; n <= 100_000; n++) {
            float x = (float) (n * (Math.PI / 2));
            assertThat(Math.abs(FloatMath.sin(x, 1) - StrictMath.sin(x))).isLessThan(FloatMath.PHASE_ERROR);
            assertThat(Math.abs(FloatMath.cos(x, 1) - StrictMath.cos(x))).isLessThan(FloatMath.PHASE_ERROR);
        }
        assertThat(FloatMath.sin(0, 7)).isZero();
        assertThat(FloatMath.cos(0, 7)).isEqualTo(1f);
    }

    @Test
    void smallPhasesHaveARelativelyAccurateSine() {
        for (float x = 1e-30f; x < 0.7f; x *= 1.01f) {
            assertThat(Math.abs(FloatMath.sin(x, 1) - StrictMath.sin(x)) / x).as("sin(%s)", x).isLessThan(0x1p-22);
        }
    }
}
