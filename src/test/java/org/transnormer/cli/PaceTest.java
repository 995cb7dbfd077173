package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

/** Rate and time left by the last steps, on a clock that the test turns. */
class PaceTest {
    private static final long SECOND = 1_000_000_000;
    private final Pace pace = new Pace(5 * SECOND);
    private long now = 1234;

    @Test
    void theFirstStepTellsNothing() {
        assertThat(pace.tokensPerSecond()).isEmpty();
        step(3600);
        assertThat(pace.tokensPerSecond()).isEmpty();
        assertThat(pace.secondsLeft(10)).isEmpty();
    }

    @Test
    void timeLeftWaitsForAFullWindow() {
        step(60);
        for (int i = 0; i < 4; i++) {
            step(1);
            assertThat(pace.secondsLeft(10)).isEmpty();
            assertThat(pace.tokensPerSecond()).hasValue(100);
        }
        step(1);
        assertThat(pace.secondsLeft(10)).hasValueCloseTo(10.0, within(1e-9));
    }

    @Test
    void whatIsLongerAgoIsForgotten() {
        for (double seconds : new double[] {60, 10, 3, 3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5}) {
            step(seconds);
        }
        assertThat(pace.tokensPerSecond()).hasValueCloseTo(200.0, within(1e-9));
        assertThat(pace.secondsLeft(8)).hasValueCloseTo(4.0, within(1e-9));
    }

    @Test
    void stepsLongerThanTheWindowCountOneByOne() {
        step(60);
        step(40);
        assertThat(pace.secondsLeft(3)).hasValueCloseTo(120.0, within(1e-9));
        step(20);
        assertThat(pace.secondsLeft(3)).hasValueCloseTo(60.0, within(1e-9));
    }

    private void step(double seconds) {
        now += Math.round(seconds * SECOND);
        pace.step(now, 100);
    }
}
