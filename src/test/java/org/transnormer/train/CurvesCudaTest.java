package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.tensor.DType;

/** Training on a GPU goes the way it goes on a CPU. */
@Tag("gpu")
class CurvesCudaTest {
    private static final int STEPS = 100;
    private static final int HALF = 50;
    private static final int PRINTED = 10;

    @Test
    void aGentleRateKeepsTheCurvesTogether() {
        TrainSettings settings = settings(3e-4);
        double[] cpu = losses(BackendKind.VECTOR, DType.F32, settings);
        double[] gpu = losses(BackendKind.CUDA, DType.F32, settings);
        double[] narrow = losses(BackendKind.CUDA, DType.BF16, settings);
        print("rate 3e-4, 20 steps of warm-up", cpu, gpu, narrow);
        assertThat(apart(cpu, gpu, HALF)).as("first %d steps", HALF).isLessThanOrEqualTo(1e-5);
        assertThat(apart(cpu, gpu, STEPS)).as("%d steps", STEPS).isLessThanOrEqualTo(1e-4);
        assertThat(apart(cpu, narrow, STEPS)).as("bf16").isLessThanOrEqualTo(0.05);
    }

    /** Where rounding grows, it grows no more than on the CPU. */
    @Test
    void aFastRatePartsThemNoMoreThanRoundingPartsTheSpec() {
        TrainSettings settings = settings(1.5e-2);
        double[] spec = losses(BackendKind.SCALAR, DType.F64, settings);
        double[] cpu = losses(BackendKind.VECTOR, DType.F32, settings);
        double[] gpu = losses(BackendKind.CUDA, DType.F32, settings);
        double[] narrow = losses(BackendKind.CUDA, DType.BF16, settings);
        print("rate 1.5e-2", spec, cpu, gpu, narrow);
        assertThat(apart(cpu, gpu, STEPS)).isLessThanOrEqualTo(3 * apart(spec, cpu, STEPS));
    }

    @Test
    void twoRunsAreTheSameBits() {
        TrainSettings settings = settings(3e-3);
        for (DType dtype : BackendKind.CUDA.dtypes()) {
            assertThat(losses(BackendKind.CUDA, dtype, settings)).containsExactly(
                    losses(BackendKind.CUDA, dtype, settings));
        }
    }

    private static TrainSettings settings(double rate) {
        TrainSettings s = TinyRun.settings(STEPS, 1);
        return new TrainSettings(s.data(), s.heldOut(), s.rows(), s.length(), s.microBatches(), STEPS, s.seed(),
                "constant", rate, s.floor(), 20, s.decay(), s.weightDecay(), s.beta1(), s.beta2(), s.epsilon(),
                s.clip(), s.evaluateEvery(), s.checkpointEvery(), s.keep());
    }

    private static double[] losses(BackendKind kind, DType dtype, TrainSettings settings) {
        try (Backend backend = kind.open(kind.precision(dtype), 2)) {
            TrainingRun run = TinyRun.start(backend, settings, TinyRun.data());
            double[] losses = new double[STEPS];
            for (int i = 0; i < STEPS; i++) {
                losses[i] = run.trainer().next().loss();
            }
            return losses;
        }
    }

    /** Largest difference of the first steps. */
    private static double apart(double[] a, double[] b, int steps) {
        double most = 0;
        for (int i = 0; i < steps; i++) {
            most = Math.max(most, Math.abs(a[i] - b[i]));
        }
        return most;
    }

    private static void print(String what, double[]... curves) {
        System.out.println(what);
        for (int i = PRINTED - 1; i < STEPS; i += PRINTED) {
            int step = i;
            System.out.printf("  step %3d: %s%n", i + 1, String.join("  ", Arrays.stream(curves)
                    .map(curve -> "%.7f".formatted(curve[step])).toList()));
        }
        for (double[] curve : curves) {
            System.out.printf("  largest distance from the first: %.2e in %d steps, %.2e in %d%n",
                    apart(curves[0], curve, HALF), HALF, apart(curves[0], curve, STEPS), STEPS);
        }
    }
}
