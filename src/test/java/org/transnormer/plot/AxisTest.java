package org.transnormer.plot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.util.HashSet;
import java.util.List;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;

class AxisTest {

    @Property(tries = 1000)
    void ticksAreNiceCoverTheValuesAndHaveLabelsOfTheirOwn(@ForAll @DoubleRange(min = -50, max = 50) double low,
            @ForAll @IntRange(min = -6, max = 5) int power, @ForAll @IntRange(min = 2, max = 9) int ticks) {
        double high = low + Math.pow(10, power) * (1 + Math.abs(low) / 20);
        Axis axis = Axis.onTicks(low, high, ticks, 400, 0);
        assertThat(axis.pixel(low)).isBetween(-1e-6, 400 + 1e-6);
        assertThat(axis.pixel(high)).isBetween(-1e-6, 400 + 1e-6);
        assertThat(axis.pixel(low)).isGreaterThan(axis.pixel(high));
        List<Double> all = axis.ticks();
        assertThat(all.size()).isBetween(2, ticks + 2);
        assertThat(axis.pixel(all.getFirst())).isCloseTo(400, offset(1e-3));
        assertThat(axis.pixel(all.getLast())).isCloseTo(0, offset(1e-3));
        assertThat(new HashSet<>(all.stream().map(axis::label).toList())).hasSize(all.size());
        double lead = axis.step() / Math.pow(10, Math.floor(Math.log10(axis.step()) + 1e-9));
        assertThat(Math.rint(lead)).isIn(1.0, 2.0, 5.0);
        assertThat(lead).isCloseTo(Math.rint(lead), offset(1e-6));
    }

    @Example
    void labelsAreShort() {
        assertThat(labels(Axis.onTicks(1.4, 6.1, 7, 0, 1))).containsExactly("1", "2", "3", "4", "5", "6", "7");
        assertThat(labels(Axis.onTicks(1.4, 1.61, 5, 0, 1))).containsExactly("1.40", "1.45", "1.50", "1.55", "1.60",
                "1.65");
        assertThat(labels(Axis.onTicks(0, 6e-4, 3, 0, 1))).containsExactly("0", "2e-4", "4e-4", "6e-4");
        assertThat(labels(Axis.onTicks(0, 2.5e-3, 5, 0, 1))).containsExactly("0", "5e-4", "1e-3", "1.5e-3", "2e-3",
                "2.5e-3");
        assertThat(labels(Axis.ofSteps(1, 5000, 0, 1))).containsExactly("1000", "2000", "3000", "4000", "5000");
        assertThat(labels(Axis.ofSteps(0, 20_000, 0, 1))).containsExactly("0", "5k", "10k", "15k", "20k");
        assertThat(labels(Axis.ofSteps(0, 9e6, 0, 1))).startsWith("0", "2M", "4M");
        assertThat(labels(Axis.ofSteps(1, 1, 0, 1))).containsExactly("1", "2");
    }

    @Example
    void aNarrowRangeFarFromZeroStartsOnItsFirstTick() {
        Axis axis = Axis.onTicks(10.619038361916765, 10.619039892868683, 9, 400, 0);
        assertThat(axis.pixel(axis.ticks().getFirst())).isEqualTo(400);
        assertThat(axis.pixel(axis.ticks().getLast())).isEqualTo(0);
    }

    @Example
    void aSingleValueHasRoomAround() {
        for (double value : new double[] {5.5, -3, 0, 1e-9}) {
            Axis axis = Axis.onTicks(value, value, 5, 0, 100);
            assertThat(axis.pixel(value)).isBetween(1.0, 99.0);
        }
    }

    private static List<String> labels(Axis axis) {
        return axis.ticks().stream().map(axis::label).toList();
    }
}
