package org.transnormer.bench;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class TimingTest {

    @Test
    void theMedianIsTheMiddle() {
        assertThat(Timing.summary(new double[] {5, 1, 9}, 2)).isEqualTo(new Timing(5, 1, 3, 2));
        assertThat(Timing.summary(new double[] {4, 1, 9, 2}, 0).median()).isEqualTo(3);
    }

    @Test
    void slowStartsAreWarmUp() {
        int[] calls = {0};
        Timing timing = Timing.of(0.02, () -> sleep(calls[0]++ < 5 ? 30 : 2));
        // One slow spell, and at least one fast one that nothing could be compared with.
        assertThat(timing.warmUp()).isGreaterThanOrEqualTo(10);
        assertThat(timing.rounds()).isGreaterThanOrEqualTo(5);
        assertThat(calls[0]).isEqualTo(timing.warmUp() + timing.rounds());
        assertThat(timing.best()).isGreaterThan(2e6).isLessThanOrEqualTo(timing.median());
    }

    private static void sleep(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
