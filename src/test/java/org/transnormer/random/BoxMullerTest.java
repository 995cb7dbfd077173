package org.transnormer.random;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;

class BoxMullerTest {
    private static final double U = 0x1p-52;

    /** Against the formula in the JDK's functions: r² within 4 units in the last place of 1 + r², the direction of 1. */
    @Property(tries = 200)
    void isTheFormula(@ForAll long key, @ForAll long first) {
        BoxMuller pairs = new BoxMuller(key);
        pairs.make(first);
        for (int i = 0; i < BoxMuller.PAIRS; i++) {
            Philox.Block block = Philox.block(key, first + i, 0);
            double square = -2 * StrictMath.log(1 - (block.low() >>> 11) * 0x1p-53);
            double angle = 2 * Math.PI * ((block.high() >>> 11) * 0x1p-53);
            double x = pairs.first(i);
            double y = pairs.second(i);
            double r = Math.hypot(x, y);
            assertThat(x * x + y * y).as("r²").isCloseTo(square, within(4 * U * (1 + square)));
            assertThat(x / r).as("cos").isCloseTo(StrictMath.cos(angle), within(4 * U));
            assertThat(y / r).as("sin").isCloseTo(StrictMath.sin(angle), within(4 * U));
        }
    }

    /** What the compiler makes of the loops is what the interpreter does. */
    @Test
    void bitsDoNotDependOnTheCompiler() {
        BoxMuller pairs = new BoxMuller(1);
        long[] first = null;
        for (int run = 0; run < 20_000; run++) {
            pairs.make(7);
            if (run % 5_000 == 0) {
                long[] bits = new long[2 * BoxMuller.PAIRS];
                for (int i = 0; i < BoxMuller.PAIRS; i++) {
                    bits[2 * i] = Double.doubleToRawLongBits(pairs.first(i));
                    bits[2 * i + 1] = Double.doubleToRawLongBits(pairs.second(i));
                }
                if (first != null) {
                    assertThat(bits).containsExactly(first);
                }
                first = bits;
            }
        }
    }
}
