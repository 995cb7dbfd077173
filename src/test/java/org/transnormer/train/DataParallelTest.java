package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.inference.RobustInference;
import org.transnormer.model.DataParallel;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.model.Recompute;
import org.transnormer.model.ShardTable;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.InProcess;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.SameBits;

/**
 * Ranks that read different data compute what one rank computes that reads all of it, whatever they share: losses, every
 * gradient, the gradient norm, and what training makes of the weights. Ranks are threads. SPEC section 7.3.
 */
class DataParallelTest {

    @Provide
    Arbitrary<ParallelCase> cases() {
        return Combinators.combine(Arbitraries.of(new Layout(2, 1), new Layout(3, 1), new Layout(4, 1),
                new Layout(2, 2), new Layout(3, 2)), Arbitraries.of(Mode.class), Arbitraries.longs())
                .as(ParallelCase::new);
    }

    @Property(tries = 60)
    void lossAndEveryGradientAreThoseOfOneRank(@ForAll("cases") ParallelCase c) {
        c.compare(c.run(), 1, ParallelCase.GRADIENTS, ParallelCase.TRAINED);
    }

    /**
     * The released form, in layers enough that slots change hands; but for positive features: where q · k of a
     * sequence's first token is almost 0, so is what norm_o divides by, and such steps would multiply roundings.
     */
    @Example
    void twentyStepsAreThoseOfOneRank() {
        Recompute[] recompute = Recompute.values();
        int i = 0;
        for (Layout layout : List.of(new Layout(2, 1), new Layout(3, 1), new Layout(4, 1), new Layout(2, 2))) {
            for (Mode mode : Mode.values()) {
                new ParallelCase(layout, mode, i).compare(released(layout, 1 + i % 3, recompute[i++ % 4]), 20,
                        ParallelCase.GRADIENTS, ParallelCase.TRAINED);
            }
        }
    }

    private static ParallelRun released(Layout layout, int microBatches, Recompute recompute) {
        return new ParallelRun(released(), BackendKind.SCALAR, Precision.F64, 5, layout.data(), microBatches, recompute,
                false, microBatches);
    }

    static ModelConfig released() {
        return new ModelConfig(21, 8, 5, 2, 8, 6, NormType.SRMSNORM, ActivationFunction.ONE_PLUS_ELU,
                ActivationFunction.IDENTITY, Position.LRPE_DECAY, 0, List.of(true, false, false, false, false),
                DecaySchedule.RELEASED, DecayTemperature.BY_LAYER, Gate.LINEAR, true, false, true, 0.1, 0, 1, 2);
    }

    /** Every kind of parameter there is: LayerNorms, biases, a head of its own. */
    @Example
    void twentyStepsWithEveryParameterAreThoseOfOneRank() {
        ModelConfig config = new ModelConfig(37, 8, 3, 4, 8, 6, NormType.LAYERNORM, ActivationFunction.ONE_PLUS_ELU,
                ActivationFunction.SILU, Position.LRPE_DECAY, 0, List.of(true, false, true), DecaySchedule.PAPER,
                DecayTemperature.BY_LAYER, Gate.LINEAR, false, true, false, 0.2, 20, 1, 2);
        new ParallelCase(new Layout(2, 2), Mode.FULLY_SHARDED, 1).compare(new ParallelRun(config, BackendKind.SCALAR,
                Precision.F64, 7, 2, 2, Recompute.FULL, true, 1), 20, ParallelCase.GRADIENTS, ParallelCase.TRAINED);
    }

    @Example
    void everyRunGivesTheSameBits() {
        for (Mode mode : Mode.values()) {
            ParallelRun run = released(new Layout(3, 2), 2, Recompute.NONE);
            assertThat(bits(run, mode)).as("%s", mode).isEqualTo(bits(run, mode));
        }
    }

    private static List<String> bits(ParallelRun run, Mode mode) {
        try (HostMemory memory = new HostMemory()) {
            ParallelRun.Result result = run.on(new Layout(3, 2), mode, 3, memory);
            List<String> bits = new ArrayList<>();
            result.gradients().values().forEach(t -> bits.add(SameBits.checksum(t)));
            result.weights().values().forEach(t -> bits.add(SameBits.checksum(t)));
            for (int step = 0; step < 3; step++) {
                bits.add(result.losses()[step] + " " + result.norms()[step]);
            }
            return bits;
        }
    }

    /** As in TensorParallelTest. */
    @Example
    void theVectorBackendAgreesToItsPrecision() {
        Layout layout = new Layout(2, 1);
        ModelConfig config = released(layout, 2, Recompute.NONE).config();
        new ParallelCase(layout, Mode.FULLY_SHARDED, 1).compare(new ParallelRun(config, BackendKind.VECTOR,
                Precision.F32, 9, 2, 2, Recompute.NONE, false, 1), 1, 2e-5, 2e-5);
    }

    /**
     * Weights in BF16, master weights in F32: gradients differ by sums in F32, of which one that falls on the other side
     * of a rounding moves a weight by 2^-8 of itself.
     */
    @Example
    void masterWeightsAreSharedToo() {
        Layout layout = new Layout(2, 1);
        ModelConfig config = released(layout, 2, Recompute.NONE).config();
        for (Mode mode : Mode.values()) {
            new ParallelCase(layout, mode, 1).compare(new ParallelRun(config, BackendKind.SCALAR, Precision.BF16, 5, 2,
                    2, Recompute.NONE, false, 1), 2, 1e-5, 0x1p-8);
        }
    }

    /** Ranks that keep shares answer with the bits of one that keeps everything, by prefill and token by token. */
    @Example
    void inferenceGathersBlocksToo() {
        double[] want = logits(Mesh.single());
        InProcess.run(2, Duration.ofSeconds(60),
                world -> assertThat(logits(Mesh.of(new Layout(2, 1), world))).isEqualTo(want));
    }

    private static double[] logits(Mesh mesh) {
        ModelConfig config = released(mesh.layout(), 1, Recompute.NONE).config();
        try (Backend backend = BackendKind.SCALAR.open(Precision.F64, 1)) {
            Weights weights = new Weights(config, Precision.F64, backend.memory(), false, ShardTable.single(config),
                    DataParallel.of(Mode.FULLY_SHARDED, mesh.data()));
            weights.initialise(3);
            TransNormer model = new TransNormer(backend, Communicator.single(), config, weights,
                    TransNormer.Mode.INFERENCE, 4);
            RobustInference inference = new RobustInference(backend, model, 1);
            backend.commit();
            inference.extend(0, 1, 2, 3, 4, 5, 6);
            Tensor last = null;
            for (int token = 7; token < 12; token++) {
                last = inference.decode(new int[] {0}, new int[] {token});
            }
            Tensor logits = last;
            return IntStream.range(0, config.vocabulary()).mapToDouble(logits::getFlat).toArray();
        }
    }
}
