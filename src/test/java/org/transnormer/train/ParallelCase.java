package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;

/**
 * A model and its batches drawn from a seed, whose widths divide by the tensor ranks of a layout; and whether ranks
 * compute what one rank computes. Norms have four channels or more: LayerNorm of two is ±1 whatever comes in, its
 * gradient nothing but rounding.
 *
 * <p>In F64 both differ by the order of sums only. A sum of n terms is off by n u of the sum of their magnitudes; models
 * here are narrow, so 1e-12 of a tensor's largest entry is thousands of u, and far below what a term that is missing,
 * counted twice, or of another head would cost.
 */
record ParallelCase(Layout layout, DataParallel.Mode mode, long seed) {
    static final double GRADIENTS = 1e-12;
    static final double TRAINED = 1e-10;
    /**
     * Of the largest gradient of the model: what a tensor's own largest is taken to be at least. A gradient may be 0 by
     * cancellation, as θ's is where no sequence has two tokens, and then is rounding and nothing else.
     */
    private static final double FLOOR = 1e-3;
    private static final Layout ALONE = new Layout(1, 1);

    ParallelRun run() {
        int size = layout.tensor();
        SplittableRandom random = new SplittableRandom(seed);
        int heads = size * (1 + random.nextInt(2));
        int headDim = (heads < 2 ? 4 : heads < 4 ? 2 : 1) + random.nextInt(3);
        Position position = Position.values()[random.nextInt(Position.values().length)];
        int layers = 1 + random.nextInt(4);
        List<Boolean> lrpe = new ArrayList<>();
        for (int layer = 0; layer < layers; layer++) {
            lrpe.add((position == Position.LRPE_DECAY || position == Position.LRPE) && random.nextBoolean());
        }
        int hidden = heads * headDim;
        int width = lrpe.contains(true) ? hidden : 4 + random.nextInt(10);
        int vocabulary = size == 3 ? 33 + random.nextInt(16) : 3 + random.nextInt(40);
        int parts = layout.sequence();
        int tokens = parts == 1 ? 2 + random.nextInt(9) : parts * (1 + random.nextInt(5));
        ModelConfig config = new ModelConfig(vocabulary, width, layers, heads, hidden, size * (1 + random.nextInt(4)),
                pick(NormType.values(), random), pick(ActivationFunction.values(), random),
                random.nextBoolean() ? ActivationFunction.IDENTITY : ActivationFunction.SILU, position,
                position == Position.ABSOLUTE ? tokens : 0, lrpe, DecaySchedule.RELEASED, DecayTemperature.BY_LAYER,
                pick(Gate.values(), random), random.nextBoolean(), random.nextBoolean(), random.nextBoolean(), 0.3,
                random.nextInt(vocabulary + 1) - 1, 1, 2);
        return new ParallelRun(config, BackendKind.SCALAR, Precision.F64, tokens, layout.data(),
                1 + random.nextInt(3), pick(Recompute.values(), random), random.nextBoolean(), seed);
    }

    private static <T> T pick(T[] values, SplittableRandom random) {
        return values[random.nextInt(values.length)];
    }

    /** Losses, gradient norms, gradients and weights of these ranks against those of one. */
    void compare(ParallelRun run, int steps, double gradients, double trained) {
        try (HostMemory memory = new HostMemory()) {
            ParallelRun.Result want = run.on(ALONE, DataParallel.Mode.REPLICATED, steps, memory);
            ParallelRun.Result got = run.on(layout, mode, steps, memory);
            for (int step = 0; step < steps; step++) {
                double allowed = step == 0 ? gradients : trained;
                assertThat(got.losses()[step]).as("loss of step %d", step).isCloseTo(want.losses()[step],
                        within(allowed * want.losses()[step]));
                assertThat(got.norms()[step]).as("gradient norm of step %d", step).isCloseTo(want.norms()[step],
                        within(allowed * want.norms()[step]));
            }
            double floor = FLOOR * want.gradients().values().stream().mapToDouble(ParallelCase::largest).max()
                    .orElseThrow();
            compare("gradient", got.gradients(), want.gradients(), gradients, floor);
            compare("weight", got.weights(), want.weights(), trained, 0);
        }
    }

    private static void compare(String what, Map<String, Tensor> got, Map<String, Tensor> want, double relative,
            double floor) {
        want.forEach((name, one) -> {
            double allowed = relative * Math.max(floor, largest(one));
            for (long i = 0; i < one.size(); i++) {
                double wanted = one.getFlat(i);
                double is = got.get(name).getFlat(i);
                if (!(Math.abs(is - wanted) <= allowed)) {
                    assertThat(is).as("%s %s[%d]", what, one, i).isCloseTo(wanted, within(allowed));
                }
            }
        });
    }

    private static double largest(Tensor t) {
        double largest = 0;
        for (long i = 0; i < t.size(); i++) {
            largest = Math.max(largest, Math.abs(t.getFlat(i)));
        }
        return largest;
    }
}
