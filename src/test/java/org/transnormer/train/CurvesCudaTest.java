package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.model.Parameter;
import org.transnormer.model.Weights;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** Training on a GPU goes the way it goes on a CPU. */
@Tag("gpu")
class CurvesCudaTest {
    private static final int STEPS = 100;
    private static final int HALF = 50;
    private static final int PRINTED = 10;
    private static final int STARTS = 16;

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

    /**
     * The rate that {@code tnl train} has unless told otherwise: no further from the CPU's curve than three times what
     * rounding parts that from the spec's. Between steps 70 and 100 a difference grows twentyfold, and its size there is
     * chance: from 8e-8 to 3e-6 among starts that differ by rounding alone. So the CPU's distance is the largest of
     * several such starts; in the first steps, where it hardly depends on the start, it is bounded by itself.
     */
    @Test
    void aFastRatePartsThemNoMoreThanRoundingPartsTheSpec() {
        TrainSettings settings = settings(1.5e-2);
        double[] spec = losses(BackendKind.SCALAR, DType.F64, settings);
        double[] gpu = losses(BackendKind.CUDA, DType.F32, settings);
        double[] narrow = losses(BackendKind.CUDA, DType.BF16, settings);
        double[][] cpu = new double[STARTS][];
        cpu[0] = losses(BackendKind.VECTOR, DType.F32, settings);
        try (Backend wide = BackendKind.SCALAR.open(Precision.F64, 1)) {
            Weights exact = TinyRun.start(wide, settings, TinyRun.data()).weights();
            for (int i = 1; i < STARTS; i++) {
                long seed = i;
                cpu[i] = losses(BackendKind.VECTOR, DType.F32, settings, own -> round(exact, own, seed));
            }
        }
        print("rate 1.5e-2: spec; GPU in f32 and bf16; CPU in f32, weights rounded to nearest, then at random",
                Stream.concat(Stream.of(spec, gpu, narrow), Stream.of(cpu)).toArray(double[][]::new));
        for (int steps : new int[] {HALF, STEPS}) {
            double rounding = Arrays.stream(cpu).mapToDouble(losses -> apart(spec, losses, steps)).max().orElseThrow();
            assertThat(apart(cpu[0], gpu, steps)).as("%d steps", steps).isLessThanOrEqualTo(3 * rounding);
        }
    }

    /** To one of the two nearest numbers, the nearer one the more often. */
    private static void round(Weights exact, Weights to, long seed) {
        Random random = new Random(seed);
        for (Parameter p : to.parameters()) {
            Tensor from = exact.parameter(p.name()).value();
            for (long i = 0; i < from.size(); i++) {
                double x = from.getFlat(i);
                p.value().setFlat(i, x + (random.nextDouble() - 0.5) * Math.ulp((float) x));
            }
        }
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
        return losses(kind, dtype, settings, _ -> {
        });
    }

    private static double[] losses(BackendKind kind, DType dtype, TrainSettings settings, Consumer<Weights> start) {
        try (Backend backend = kind.open(kind.precision(dtype), 2)) {
            TrainingRun run = TinyRun.start(backend, settings, TinyRun.data());
            start.accept(run.weights());
            run.optimizer().adoptWeights();
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
