package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;

class LightningCudaArgumentsTest {
    /** What is doubled must fit the shared memory of the kernel for single tokens. */
    @Test
    void ratesOfLrpeAreWhatTheKernelReads() {
        assertThatCode(() -> LightningCuda.checkTheta(null)).doesNotThrowAnyException();
        assertThatCode(() -> LightningCuda.checkTheta(theta(DType.F32, 256))).doesNotThrowAnyException();
        assertThatThrownBy(() -> LightningCuda.checkTheta(theta(DType.F32, 257)))
                .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("theta F32 [2, 257]")
                .hasMessageContaining("at most 512 channels").hasMessageEndingWith("got 514");
        assertThatThrownBy(() -> LightningCuda.checkTheta(theta(DType.BF16, 4)))
                .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("F32");
        assertThatThrownBy(() -> LightningCuda.checkTheta(theta(DType.F32, 8).slice(1, 0, 4)))
                .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("without gaps");
    }

    private static Tensor theta(DType dtype, long channels) {
        try (PlanMemory memory = new PlanMemory()) {
            return memory.allocate(MemoryKind.WEIGHTS, "theta", dtype, 2, channels);
        }
    }
}
