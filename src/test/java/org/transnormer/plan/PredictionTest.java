package org.transnormer.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Preset;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;

/** Plans beside what runs came to, as cuda/NOTES.md has it: steps within 15 %, memory within 5 %. */
class PredictionTest {
    private static final Planner H100 = new Planner(Accelerator.of("h100"));

    /** NVIDIA H100 80GB HBM3, head of its own; tokens a second, and MiB that a run took of the device where known. */
    @ParameterizedTest
    @CsvSource({"385M, 8, 2048, NONE, 181996, 0", "1B, 8, 2048, NONE, 86259, 0", "385M, 16, 2048, NONE, 192908, 29778",
        "385M, 16, 2048, GLU, 175177, 20208", "385M, 64, 2048, GLU, 183704, 55268",
        "385M, 1, 131072, GLU, 179746, 0"})
    void oneH100(String preset, int rows, long length, Recompute recompute, double tokensPerSecond, double mebibytes) {
        Plan plan = H100.plan(new Setup(config(preset), Precision.BF16, new Layout(1, 1),
                DataParallel.Mode.REPLICATED, recompute, rows, length, 1), 0);
        assertThat(plan.tokensPerSecond()).isCloseTo(tokensPerSecond, withinPercentage(15));
        if (mebibytes > 0) {
            assertThat(plan.memory().total() / (double) (1 << 20)).isCloseTo(mebibytes, withinPercentage(5));
        }
    }

    private static ModelConfig config(String preset) {
        return Preset.of(preset).config(64_000, 0, 1, 2).withSeparateHead();
    }
}
