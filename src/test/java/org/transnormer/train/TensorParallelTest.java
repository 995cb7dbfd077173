package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.model.Recompute;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;

/**
 * Tensor parallelism computes what one rank computes: losses, every gradient, the gradient norm, and what training makes
 * of the weights. Ranks are threads. SPEC section 7.
 *
 * <p>In F64 both differ by the order of sums only. A sum of n terms is off by n u of the sum of their magnitudes; models
 * here are narrow, so 1e-12 of a tensor's largest entry is thousands of u, and far below what a term that is missing,
 * counted twice, or of another head would cost.
 */
class TensorParallelTest {
    private static final double GRADIENTS = 1e-12;
    private static final double TRAINED = 1e-10;
    /**
     * Of the largest gradient of the model: what a tensor's own largest is taken to be at least. A gradient may be 0 by
     * cancellation, as θ's is where no sequence has two tokens, and then is rounding and nothing else.
     */
    private static final double FLOOR = 1e-3;

    /**
     * A model drawn from a seed whose every width divides by {@code size}. Norms have four channels or more: LayerNorm
     * of two is ±1 whatever comes in, its gradient nothing but rounding.
     */
    record Case(int size, long seed) {

        TensorParallelRun run() {
            SplittableRandom random = new SplittableRandom(seed);
            int heads = size * (1 + random.nextInt(2));
            int headDim = (heads < 4 ? 2 : 1) + random.nextInt(3);
            Position position = Position.values()[random.nextInt(Position.values().length)];
            int layers = 1 + random.nextInt(3);
            List<Boolean> lrpe = new ArrayList<>();
            for (int layer = 0; layer < layers; layer++) {
                lrpe.add((position == Position.LRPE_DECAY || position == Position.LRPE) && random.nextBoolean());
            }
            int hidden = heads * headDim;
            int width = lrpe.contains(true) ? hidden : 4 + random.nextInt(10);
            int vocabulary = size == 3 ? 33 + random.nextInt(16) : 3 + random.nextInt(40);
            int tokens = 2 + random.nextInt(9);
            ModelConfig config = new ModelConfig(vocabulary, width, layers, heads, hidden,
                    size * (1 + random.nextInt(4)), pick(NormType.values(), random),
                    pick(ActivationFunction.values(), random),
                    random.nextBoolean() ? ActivationFunction.IDENTITY : ActivationFunction.SILU, position,
                    position == Position.ABSOLUTE ? tokens : 0, lrpe, DecaySchedule.RELEASED,
                    DecayTemperature.BY_LAYER, pick(Gate.values(), random), random.nextBoolean(),
                    random.nextBoolean(), random.nextBoolean(), 0.3, random.nextInt(vocabulary + 1) - 1, 1, 2);
            return new TensorParallelRun(config, BackendKind.SCALAR, Precision.F64, tokens,
                    pick(Recompute.values(), random), random.nextBoolean(), seed);
        }

        private static <T> T pick(T[] values, SplittableRandom random) {
            return values[random.nextInt(values.length)];
        }
    }

    @Provide
    Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.of(2, 3, 4), Arbitraries.longs()).as(Case::new);
    }

    @Property(tries = 25)
    void lossAndEveryGradientAreThoseOfOneRank(@ForAll("cases") Case c) {
        compare(c.run(), c.size, 1, GRADIENTS, TRAINED);
    }

    /** The released form: LRPE in the first layer, no parameters in norms, gate, tied head. */
    @Example
    void twentyStepsAreThoseOfOneRank() {
        for (int size : new int[] {2, 3, 4}) {
            compare(new TensorParallelRun(released(size), BackendKind.SCALAR, Precision.F64, 16, Recompute.NONE, false,
                    size), size, 20, GRADIENTS, TRAINED);
        }
    }

    /** Every kind of parameter there is: LayerNorms, biases, a head of its own. */
    @Example
    void twentyStepsWithEveryParameterAreThoseOfOneRank() {
        ModelConfig config = new ModelConfig(37, 12, 2, 6, 12, 6, NormType.LAYERNORM, ActivationFunction.ONE_PLUS_ELU,
                ActivationFunction.SILU, Position.LRPE_DECAY, 0, List.of(true, false), DecaySchedule.PAPER,
                DecayTemperature.BY_LAYER, Gate.LINEAR, false, true, false, 0.2, 20, 1, 2);
        for (int size : new int[] {2, 3}) {
            compare(new TensorParallelRun(config, BackendKind.SCALAR, Precision.F64, 12, Recompute.FULL, true, size),
                    size, 20, GRADIENTS, TRAINED);
        }
    }

    /** F32: 1e-12 u_F32/u_F64 = 5e-4 of the largest entry would be allowed by the same reasoning; sums are short. */
    @Example
    void theVectorBackendAgreesToItsPrecision() {
        for (int size : new int[] {2, 4}) {
            compare(new TensorParallelRun(released(size), BackendKind.VECTOR, Precision.F32, 24, Recompute.NONE, false,
                    size), size, 1, 2e-5, 2e-5);
        }
    }

    private static ModelConfig released(int size) {
        int heads = size == 3 ? 3 : 4;
        return new ModelConfig(45, 4 * heads, 2, heads, 4 * heads, 24, NormType.SRMSNORM, ActivationFunction.SILU,
                ActivationFunction.IDENTITY, Position.LRPE_DECAY, 0, List.of(true, false), DecaySchedule.RELEASED,
                DecayTemperature.BY_LAYER, Gate.LINEAR, true, false, true, 0.1, 0, 1, 2);
    }

    private static void compare(TensorParallelRun run, int size, int steps, double gradients, double trained) {
        try (HostMemory memory = new HostMemory()) {
            TensorParallelRun.Result want = run.on(1, steps, memory);
            TensorParallelRun.Result got = run.on(size, steps, memory);
            for (int step = 0; step < steps; step++) {
                double allowed = step == 0 ? gradients : trained;
                assertThat(got.losses()[step]).as("loss of step %d", step).isCloseTo(want.losses()[step],
                        within(allowed * want.losses()[step]));
                assertThat(got.norms()[step]).as("gradient norm of step %d", step).isCloseTo(want.norms()[step],
                        within(allowed * want.norms()[step]));
            }
            double floor = FLOOR * want.gradients().values().stream().mapToDouble(TensorParallelTest::largest).max()
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
                assertThat(got.get(name).getFlat(i)).as("%s %s[%d]", what, one, i).isCloseTo(one.getFlat(i),
                        within(allowed));
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
