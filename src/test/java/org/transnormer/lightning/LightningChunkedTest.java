package org.transnormer.lightning;

import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

class LightningChunkedTest implements LightningScalarContract {
    @Override
    public LightningAttention subject() {
        return new LightningChunked(5);
    }

    @Property(tries = 60)
    void blocksOfAnySizeAreTheSame(@ForAll("calls") LightningCase shape, @ForAll("blocks") int block) {
        assertSame(new LightningChunked(block), reference(), shape);
    }

    @Provide
    Arbitrary<Integer> blocks() {
        return Arbitraries.of(1, 2, 3, 8, 31, 32, 33, 63, 64, 65, 149, 150, 151, 1000);
    }
}
