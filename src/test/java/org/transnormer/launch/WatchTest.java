package org.transnormer.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import org.junit.jupiter.api.Test;

/** Three ranks, and a clock that is moved by hand. */
class WatchTest {
    private static final long SECOND = 1_000_000_000L;
    private final Watch watch = new Watch(3, Timings.of(Map.of()));

    @Test
    void tenSecondsOfSilenceAreToBlame() {
        everyone(step(1, 1, 0));
        for (int i = 0; i < 10; i++) {
            watch.heard(0);
            watch.heard(2);
            assertThat(watch.pass(SECOND)).isNull();
        }
        watch.heard(0);
        watch.heard(2);
        assertThat(watch.pass(1)).satisfies(verdict -> {
            assertThat(verdict.rank()).isEqualTo(1);
            assertThat(verdict.reason()).startsWith("no sign of life for 10 s");
        });
    }

    @Test
    void aRankThatHasLeftMayBeSilent() {
        watch.left(1);
        watch.left(2);
        for (int i = 0; i < 100; i++) {
            watch.heard(0);
            assertThat(watch.pass(SECOND)).isNull();
        }
    }

    @Test
    void aStepMayTakeThirtySeconds() {
        everyone(step(1, 1, 3));
        watch.heard(2, step(1, 1, 2));
        quiet(30);
        assertThat(watch.pass(1)).satisfies(verdict -> {
            assertThat(verdict.rank()).isEqualTo(2);
            assertThat(verdict.reason()).startsWith("step 1 hangs there: not done after 30 s;");
        });
    }

    @Test
    void aRankOfAnEarlierStepIsBehind() {
        everyone(step(8, 8, 0));
        watch.heard(1, step(7, 7, 5));
        quiet(30);
        assertThat(watch.pass(1).rank()).isEqualTo(1);
    }

    @Test
    void whereAllAreAtTheSamePlaceItIsSaid() {
        everyone(step(1, 1, 3));
        quiet(30);
        assertThat(watch.pass(1).reason())
                .startsWith("step 1 hangs, and no rank has come further: not done after 30 s");
    }

    @Test
    void longStepsMayTakeFiveTimesWhatMostTake() {
        for (long seconds : new long[] {2, 20, 20, 20, 300}) {
            watch.step(seconds * SECOND);
        }
        assertThat(watch.stepLimit()).isEqualTo(100 * SECOND);
        everyone(step(6, 6, 0));
        quiet(100);
        assertThat(watch.pass(1).reason()).contains("not done after 100 s, where most take 20 s");
    }

    @Test
    void shortOrFewStepsDoNotShortenTheLimit() {
        watch.step(100 * SECOND);
        watch.step(100 * SECOND);
        assertThat(watch.stepLimit()).isEqualTo(30 * SECOND);
        for (int i = 0; i < 100; i++) {
            watch.step(SECOND);
        }
        assertThat(watch.stepLimit()).isEqualTo(30 * SECOND);
    }

    @Test
    void aNewStepBeginsAnew() {
        for (int s = 1; s < 20; s++) {
            everyone(step(s, s, 0));
            quiet(29);
        }
    }

    /** The others wait in the next step, or for leave to begin it. */
    @Test
    void whileOneSavesNoStepIsHung() {
        everyone(step(5, 5, 0));
        watch.heard(0, new Moment(6, Phase.SAVING, 0, 0));
        quiet(3600);
        everyone(step(7, 6, 0));
        quiet(29);
        assertThat(watch.pass(SECOND)).isNull();
    }

    @Test
    void whatIsAnnouncedHasALimitToo() {
        everyone(step(5, 5, 0));
        watch.heard(1, new Moment(6, Phase.EVALUATING, 0, 0));
        quiet(3600);
        assertThat(watch.pass(1)).satisfies(verdict -> {
            assertThat(verdict.rank()).isEqualTo(1);
            assertThat(verdict.reason()).startsWith("it has been evaluating for 3600 s");
        });
    }

    private void everyone(Moment moment) {
        for (int r = 0; r < 3; r++) {
            watch.heard(r, moment);
        }
    }

    /** All live, and come no further. */
    private void quiet(int seconds) {
        for (int i = 0; i < seconds; i++) {
            for (int r = 0; r < 3; r++) {
                watch.heard(r);
            }
            assertThat(watch.pass(SECOND)).as("after %d s", i + 1).isNull();
        }
    }

    private static Moment step(int phases, long step, long collectives) {
        return new Moment(phases, Phase.STEP, step, collectives);
    }
}
