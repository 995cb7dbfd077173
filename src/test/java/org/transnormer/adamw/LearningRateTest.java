package org.transnormer.adamw;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class LearningRateTest {
    private static LearningRate of(String name) {
        return LearningRate.of(name, 1, 0.1, 10, 20, 110);
    }

    @Test
    void warmUpIsTheSameForAll() {
        for (String name : LearningRate.NAMES) {
            assertThat(of(name).at(1)).isEqualTo(0.1);
            assertThat(of(name).at(9)).isEqualTo(0.9);
            assertThat(of(name).at(10)).isEqualTo(1);
        }
    }

    @Test
    void theirOwnShapes() {
        assertThat(of("constant").at(1_000_000)).isEqualTo(1);
        assertThat(of("linear").at(60)).isCloseTo(0.55, within(1e-15));
        assertThat(of("linear").at(35)).isCloseTo(0.775, within(1e-15));
        assertThat(of("cosine").at(60)).isCloseTo(0.55, within(1e-15));
        assertThat(of("cosine").at(35)).isCloseTo(0.1 + 0.45 * (1 + Math.sqrt(0.5)), within(1e-15));
        assertThat(of("wsd").at(90)).isEqualTo(1);
        assertThat(of("wsd").at(100)).isCloseTo(0.55, within(1e-15));
    }

    @Test
    void theLastUpdateReachesTheFloorAndItStays() {
        for (String name : new String[] {"linear", "cosine", "wsd"}) {
            assertThat(of(name).at(109)).isGreaterThan(0.1);
            assertThat(of(name).at(110)).isCloseTo(0.1, within(1e-15));
            assertThat(of(name).at(1_000_000)).isCloseTo(0.1, within(1e-15));
        }
    }

    @Test
    void withoutWarmUpItFallsFromTheStart() {
        assertThat(LearningRate.of("linear", 1, 0, 0, 0, 4).at(1)).isEqualTo(0.75);
        assertThat(LearningRate.of("constant", 1, 0, 0, 0, 4).at(1)).isEqualTo(1);
        assertThat(LearningRate.of("wsd", 1, 0, 0, 4, 4).at(1)).isEqualTo(0.75);
    }

    @Property(tries = 100)
    void neverRisesAfterTheWarmUp(@ForAll @IntRange(min = 0, max = 50) int warmup,
            @ForAll @IntRange(min = 1, max = 100) int rest, @ForAll @IntRange(min = 1, max = 200) int t) {
        for (String name : LearningRate.NAMES) {
            LearningRate rate = LearningRate.of(name, 3e-4, 3e-5, warmup, 1 + rest / 2, warmup + rest);
            assertThat(rate.at(t)).isBetween(Math.min(3e-5 * 0.999999, 3e-4 / Math.max(warmup, 1)), 3e-4);
            assertThat(t < warmup ? rate.at(t + 1L) - rate.at(t) : rate.at(t) - rate.at(t + 1L)).isNotNegative();
        }
    }

    @Test
    void mistakesAreNamed() {
        assertThatThrownBy(() -> of("sine")).hasMessageContaining("sine").hasMessageContaining("cosine, wsd");
        assertThatThrownBy(() -> LearningRate.of("cosine", 1, 2, 0, 0, 10)).hasMessageContaining("floor 2.0, peak 1.0");
        assertThatThrownBy(() -> LearningRate.of("cosine", 1, 0, 10, 0, 10)).hasMessageContaining("updates 10");
        assertThatThrownBy(() -> LearningRate.of("wsd", 1, 0, 5, 6, 10)).hasMessageContaining("1 to 5 updates");
        assertThatThrownBy(() -> LearningRate.of("constant", Double.NaN, 0, 0, 0, 10)).hasMessageContaining("NaN");
    }
}
