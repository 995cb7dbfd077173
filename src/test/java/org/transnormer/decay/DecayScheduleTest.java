package org.transnormer.decay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DecayScheduleTest {
    private static double[] base(DecaySchedule schedule, int heads) {
        return schedule.rates(DecayTemperature.NONE, heads, 0, 2);
    }

    private static double first(DecaySchedule schedule, int layer, int layers) {
        return schedule.rates(DecayTemperature.BY_LAYER, 8, layer, layers)[7] / base(schedule, 8)[7];
    }

    @Test
    void releasedSlopesOfAPowerOfTwo() {
        assertThat(base(DecaySchedule.RELEASED, 1)).containsExactly(0x1p-8);
        assertThat(base(DecaySchedule.RELEASED, 2)).containsExactly(0x1p-4, 0x1p-8);
        assertThat(base(DecaySchedule.RELEASED, 8))
                .containsExactly(0x1p-1, 0x1p-2, 0x1p-3, 0x1p-4, 0x1p-5, 0x1p-6, 0x1p-7, 0x1p-8);
        assertThat(base(DecaySchedule.RELEASED, 16)[0]).isCloseTo(StrictMath.sqrt(0.5), within(1e-15));
    }

    @Test
    void releasedSlopesOfOtherCounts() {
        assertThat(base(DecaySchedule.RELEASED, 3)).containsExactly(0x1p-4, 0x1p-8, 0x1p-2);
        assertThat(base(DecaySchedule.RELEASED, 6)).containsExactly(0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8, 0x1p-1, 0x1p-3);
        assertThat(Arrays.copyOfRange(base(DecaySchedule.RELEASED, 40), 36, 40))
                .containsExactly(new double[] {0.4585, 0.3856, 0.3242, 0.2726}, within(5e-5));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 5, 20, 32, 40, 64, 96})
    void releasedSlopesLieBetween1And2PowMinus8(int heads) {
        double[] slopes = base(DecaySchedule.RELEASED, heads);
        assertThat(Arrays.stream(slopes).min()).hasValue(0x1p-8);
        assertThat(Arrays.stream(slopes).max().orElseThrow()).isLessThan(1);
        assertThat(Arrays.stream(slopes).distinct().count()).isEqualTo(heads);
    }

    @Test
    void releasedFactorEndsAboveZero() {
        assertThat(first(DecaySchedule.RELEASED, 0, 30)).isEqualTo(1 + 1e-5);
        assertThat(first(DecaySchedule.RELEASED, 29, 30)).isCloseTo(1e-5, within(1e-20));
        assertThat(first(DecaySchedule.RELEASED, 2, 5)).isCloseTo(0.50001, within(1e-15));
        assertThat(first(DecaySchedule.RELEASED, 0, 1)).isEqualTo(1 + 1e-5);
    }

    @Test
    void paper() {
        assertThat(base(DecaySchedule.PAPER, 4)).containsExactly(0, 2, 4, 6);
        assertThat(DecaySchedule.PAPER.rates(DecayTemperature.BY_LAYER, 4, 3, 4)).containsExactly(0, 0.5, 1, 1.5);
        assertThat(first(DecaySchedule.PAPER, 0, 1)).isEqualTo(1);
    }

    @Test
    void withoutTemperatureAllLayersAreAlike() {
        for (DecaySchedule schedule : DecaySchedule.values()) {
            assertThat(schedule.rates(DecayTemperature.NONE, 6, 3, 4)).isEqualTo(base(schedule, 6));
        }
    }

    @Test
    void withoutDecayEverythingIsZero() {
        assertThat(DecaySchedule.NONE.rates(DecayTemperature.BY_LAYER, 3, 1, 4)).containsExactly(0, 0, 0);
    }

    @Test
    void askingForWhatIsNotThere() {
        assertThatThrownBy(() -> DecaySchedule.RELEASED.rates(DecayTemperature.BY_LAYER, 8, 24, 24))
                .hasMessageContaining("heads 8, layer 24 of 24");
        assertThatThrownBy(() -> base(DecaySchedule.RELEASED, 0)).isInstanceOf(IllegalArgumentException.class);
    }
}
