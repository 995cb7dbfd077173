package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.transnormer.backend.Backend;
import org.transnormer.backend.CudaBackend;
import org.transnormer.backend.Precision;
import org.transnormer.cuda.DeviceMemory;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.NcclId;
import org.transnormer.data.TokenDataset;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.parallel.Nccl;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.testing.GpuRanks;

/** Training on two GPUs goes the way it goes on one, however they share it. SPEC section 7. */
@Tag("gpus")
class CurvesGpusTest {
    private static final int STEPS = 50;
    private static final int LAST = 10;
    private static final double F32 = 1e-5;
    /** Of the mean loss of the last steps: rounding to BF16 parts single losses by more. */
    private static final double BF16 = 5e-3;

    @ParameterizedTest
    @CsvSource({"1, 1, 2, REPLICATED", "2, 1, 1, REPLICATED", "2, 1, 1, ZERO1", "2, 1, 1, FULLY_SHARDED",
        "1, 2, 1, REPLICATED", "1, 2, 1, FULLY_SHARDED"})
    void twoGpusFollowOne(int data, int sequence, int tensor, Mode mode) {
        GpuRanks.require(2);
        Layout layout = new Layout(data, sequence, tensor);
        double[] one = losses(new Layout(1, 1), Mode.REPLICATED, Precision.F32);
        double[] two = losses(layout, mode, Precision.F32);
        double[] narrow = losses(new Layout(1, 1), Mode.REPLICATED, Precision.BF16);
        double[] narrowTwo = losses(layout, mode, Precision.BF16);
        double apart = 0;
        for (int i = 0; i < STEPS; i++) {
            apart = Math.max(apart, Math.abs(one[i] - two[i]));
        }
        System.out.printf("%s, %s: from %.4f to %.4f; apart f32 %.1e, bf16 %.1e (f32 and bf16: %.1e)%n", layout,
                mode.label(), one[0], one[STEPS - 1], apart, Math.abs(end(narrow) - end(narrowTwo)),
                Math.abs(end(one) - end(narrow)));
        assertThat(two[STEPS - 1]).isLessThan(two[0] - 0.5);
        assertThat(apart).isLessThanOrEqualTo(F32);
        assertThat(Math.abs(end(narrow) - end(narrowTwo))).isLessThanOrEqualTo(BF16);
    }

    private static double end(double[] losses) {
        return Arrays.stream(losses).skip(STEPS - LAST).average().orElseThrow();
    }

    private static double[] losses(Layout layout, Mode mode, Precision precision) {
        double[] losses = new double[STEPS];
        NcclId id = layout.size() == 1 ? null : NcclId.create();
        GpuRanks.run(layout.size(), rank -> {
            Gpu gpu = Gpu.open(rank);
            try (Backend backend = new CudaBackend(precision, gpu,
                    new DeviceMemory(gpu.stream(), new MemoryPlan()))) {
                Mesh mesh = id == null ? Mesh.single()
                        : Mesh.of(layout, Nccl.join(gpu, id, rank, layout.size()));
                TokenDataset.Split text = TinyRun.data();
                TrainSettings settings = settings();
                TrainingRun run = new TrainingRun(backend, mesh, mode, TinyRun.config(), settings, text.train(),
                        text.heldOut(), Recompute.NONE);
                GpuRanks.meet();
                run.weights().initialise(settings.seed());
                run.optimizer().adoptWeights();
                for (int i = 0; i < STEPS; i++) {
                    double loss = run.trainer().next().loss();
                    if (rank == 0) {
                        losses[i] = loss;
                    }
                }
            }
        });
        return losses;
    }

    /** 3e-4 after 20 steps of warm-up. */
    private static TrainSettings settings() {
        TrainSettings s = TinyRun.settings(STEPS, 1);
        return new TrainSettings(s.data(), s.heldOut(), s.rows(), s.length(), s.microBatches(), STEPS, s.seed(),
                "constant", 3e-4, s.floor(), 20, s.decay(), s.weightDecay(), s.beta1(), s.beta2(), s.epsilon(),
                s.clip(), s.evaluateEvery(), s.checkpointEvery(), s.keep());
    }
}
