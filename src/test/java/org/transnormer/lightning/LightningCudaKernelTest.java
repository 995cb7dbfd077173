package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;

class LightningCudaKernelTest {
    private static final LightningCudaKernel[] KERNELS = {new LightningCudaKernel(null, 256, 512, 32, 256, 0, 0),
        new LightningCudaKernel(null, 256, 256, 128, 128, 0, 0)};

    /** However a call of up to the announced tokens is cut, what was reserved holds the states of its segments. */
    @Property(tries = 1000)
    void statesOfSegmentsFitWhatWasReserved(@ForAll @LongRange(min = 1, max = 1 << 20) long announced,
            @ForAll @IntRange(min = 1, max = 300) int count, @ForAll @IntRange(min = 1, max = 64) int heads,
            @ForAll @IntRange(min = 1, max = 256) int keys, @ForAll @IntRange(min = 1, max = 256) int values,
            @ForAll @IntRange(min = 1, max = 5) int part) {
        long tokens = Math.max(count, announced / part);
        for (LightningCudaKernel kernel : KERNELS) {
            int segment = kernel.segment(tokens, count, heads, values);
            assertThat(segment == LightningCudaKernel.WHOLE || segment >= 512 && segment % 64 == 0).isTrue();
            if (segment != LightningCudaKernel.WHOLE) {
                long needed = (tokens / segment + count) * heads * keys * values * Float.BYTES;
                assertThat(needed)
                        .isLessThanOrEqualTo(kernel.mostBytes(Math.max(announced, tokens), heads, keys, values));
            }
        }
    }

    /** Few heads and sequences make many segments, many of them none. */
    @Property(tries = 100)
    void aCallHasBlocksEnough(@ForAll @IntRange(min = 1, max = 300) int count,
            @ForAll @IntRange(min = 1, max = 64) int heads) {
        for (LightningCudaKernel kernel : KERNELS) {
            int segment = kernel.segment(count * 131_072L, count, heads, 128);
            long segments = segment == LightningCudaKernel.WHOLE ? 1 : Math.ceilDiv(131_072, segment);
            assertThat(segments * count * heads * kernel.tiles(128)).isGreaterThanOrEqualTo(3 * kernel.blocks() / 4);
            assertThat(segments == 1).isEqualTo(4 * count * heads * kernel.tiles(128) >= 3 * kernel.blocks());
        }
    }
}
