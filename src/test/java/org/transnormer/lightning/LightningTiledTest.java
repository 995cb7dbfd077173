package org.transnormer.lightning;

import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

class LightningTiledTest implements LightningScalarContract {
    @Override
    public LightningAttention subject() {
        return new LightningTiled(5, 3);
    }

    @Property(tries = 60)
    void blocksOfAnySizeAreTheSame(@ForAll("calls") LightningCase shape, @ForAll("blocks") int rows,
            @ForAll("blocks") int columns) {
        assertSame(new LightningTiled(rows, columns), reference(), shape);
    }

    @Provide
    Arbitrary<Integer> blocks() {
        return Arbitraries.of(1, 2, 3, 8, 31, 32, 33, 63, 64, 65, 128, 149, 150, 151, 1000);
    }
}
