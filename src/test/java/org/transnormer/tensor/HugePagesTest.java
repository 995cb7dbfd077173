package org.transnormer.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

@EnabledOnOs(OS.LINUX)
class HugePagesTest {
    @Test
    void memoryIsZeroWritableToItsEndAndGivenBack() {
        MemorySegment segment;
        try (Arena arena = Arena.ofShared()) {
            segment = HugePages.allocate(arena, 2 * HugePages.BYTES);
            assertThat(segment.byteSize()).isEqualTo(2 * HugePages.BYTES);
            assertThat(segment.address() % HugePages.BYTES).isZero();
            assertThat(segment.mismatch(MemorySegment.ofArray(new byte[(int) (2 * HugePages.BYTES)]))).isEqualTo(-1);
            segment.fill((byte) 1);
        }
        assertThatThrownBy(() -> segment.get(ValueLayout.JAVA_BYTE, 0)).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void whatTheSystemCannotGiveIsAnError() {
        try (Arena arena = Arena.ofShared()) {
            assertThatThrownBy(() -> HugePages.allocate(arena, 1L << 60)).isInstanceOf(OutOfMemoryError.class);
        }
    }

    @Test
    void largeTensorsFollowEachOtherAndLargerOnesThanARegionFit() {
        try (HostMemory memory = new HostMemory()) {
            Tensor a = memory.allocate(MemoryKind.WEIGHTS, "a", DType.F32, 1 << 18);
            Tensor b = memory.allocate(MemoryKind.WEIGHTS, "b", DType.F32, 1 << 18);
            Tensor c = memory.allocate(MemoryKind.WEIGHTS, "c", DType.F32, (1L << 28) + 1);
            assertThat(b.segment().address()).isEqualTo(a.segment().address() + (1 << 20));
            c.setFlat(1L << 28, 2);
            assertThat(c.getFlat(1L << 28)).isEqualTo(2);
            assertThat(a.getFlat((1 << 18) - 1)).isZero();
        }
    }
}
