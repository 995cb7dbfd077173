package org.transnormer.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Preset;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;

/** Plans beside what runs came to, as cuda/NOTES.md has it: both within 5 %. */
class PredictionTest {
    private static final Planner H100 = new Planner(Accelerator.of("h100"));
    /** As they were measured: all sums by NCCL. */
    private static final Planner H200 = new Planner(Accelerator.of("h200"), false);

    /** NVIDIA H100 80GB HBM3, head of its own; tokens a second, and MiB that a run took of the device where known. */
    @ParameterizedTest
    @CsvSource({"385M, 8, 2048, NONE, 181996, 0", "1B, 8, 2048, NONE, 86259, 0", "385M, 16, 2048, NONE, 192908, 29778",
        "385M, 16, 2048, GLU, 175177, 20208", "385M, 64, 2048, GLU, 183704, 55268",
        "385M, 1, 131072, GLU, 179746, 0"})
    void oneH100(String preset, int rows, long length, Recompute recompute, double tokensPerSecond, double mebibytes) {
        compare(H100.plan(new Setup(config(preset), Precision.BF16, new Layout(1, 1), DataParallel.Mode.REPLICATED,
                recompute, rows, length, 1), 0), tokensPerSecond, mebibytes);
    }

    /** One NVIDIA H200, and two with NVLink by NCCL: data ranks, tensor ranks; as above. */
    @ParameterizedTest
    @CsvSource({"1B, 1, 1, REPLICATED, 8, 87394, 35288", "1B, 1, 1, REPLICATED, 16, 91278, 50140",
        "1B, 2, 1, FULLY_SHARDED, 16, 167617, 28138", "1B, 2, 1, FULLY_SHARDED, 16, 166404, 28138",
        "1B, 2, 1, ZERO1, 16, 169043, 30046", "1B, 2, 1, REPLICATED, 16, 164630, 36638",
        "1B, 1, 2, REPLICATED, 8, 144921, 20580", "1B, 1, 2, REPLICATED, 16, 151294, 29320",
        "7B, 2, 1, FULLY_SHARDED, 16, 27588, 118546"})
    void twoH200(String preset, int data, int tensor, DataParallel.Mode sharding, int rows, double tokensPerSecond,
            double mebibytes) {
        compare(H200.plan(new Setup(config(preset), Precision.BF16, new Layout(data, tensor), sharding,
                Recompute.NONE, rows, 2048, 1), 0), tokensPerSecond, mebibytes);
    }

    /** Two NVIDIA H200 that sum by copies between them; as above. */
    @ParameterizedTest
    @CsvSource({"1, 2, 8, 151455, 20710", "1, 2, 8, 149761, 20710", "1, 2, 16, 156035, 29450",
        "2, 1, 16, 165263, 36768"})
    void sumsByCopiesBetweenTwoH200(int data, int tensor, int rows, double tokensPerSecond, double mebibytes) {
        compare(new Planner(Accelerator.of("h200")).plan(new Setup(config("1B"), Precision.BF16,
                new Layout(data, tensor), DataParallel.Mode.REPLICATED, Recompute.NONE, rows, 2048, 1), 0),
                tokensPerSecond, mebibytes);
    }

    /** Two halves of rows on as many H200, vocabulary of bytes and tied head. */
    @ParameterizedTest
    @CsvSource({"1, 1048576, 368162, 77312", "64, 16384, 377358, 0"})
    void partsOfRowsOnTwoH200(int rows, long length, double tokensPerSecond, double mebibytes) {
        compare(H200.plan(new Setup(Preset.of("385M").config(259, 0, 1, 2), Precision.BF16, new Layout(1, 2, 1),
                DataParallel.Mode.REPLICATED, Recompute.FULL, rows, length, 1), 1), tokensPerSecond, mebibytes);
    }

    /** The world, each other group, and for what each exchanges beside the computation, with memory for its sums. */
    @Test
    void librariesTakeMoreForEachCommunicator() {
        long alone = Plan.libraries(new Layout(1, 1));
        assertThat(Plan.libraries(new Layout(1, 2)) - alone).isEqualTo(866 + 487L + 128 << 20);
        assertThat(Plan.libraries(new Layout(2, 1))).isEqualTo(Plan.libraries(new Layout(1, 2)));
        assertThat(Plan.libraries(new Layout(1, 2, 1)) - alone).isEqualTo(866 + 2 * (487L + 128) << 20);
        assertThat(Plan.libraries(new Layout(2, 2)) - alone).isEqualTo(866 + 4 * 487L + 2 * 128 << 20);
        assertThat(Plan.libraries(new Layout(2, 2, 2)) - alone).isEqualTo(866 + 6 * 487L + 64 + 2 * 128 << 20);
    }

    private static void compare(Plan plan, double tokensPerSecond, double mebibytes) {
        assertThat(plan.tokensPerSecond()).isCloseTo(tokensPerSecond, withinPercentage(5));
        if (mebibytes > 0) {
            assertThat(plan.bytes() / (double) (1 << 20)).isCloseTo(mebibytes, withinPercentage(5));
        }
    }

    private static ModelConfig config(String preset) {
        return Preset.of(preset).config(64_000, 0, 1, 2).withSeparateHead();
    }
}
