package org.transnormer.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.ObservedBackend;
import org.transnormer.backend.Precision;
import org.transnormer.bench.GemmShape.Direction;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Preset;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.InProcess;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.train.Trainer;

class StepBenchTest {
    /** Odd in every size, so that no two products are the same by accident; a head of its own. */
    private static final ModelConfig CONFIG = new ModelConfig(37, 12, 2, 3, 12, 20, NormType.SRMSNORM,
            ActivationFunction.SILU, ActivationFunction.IDENTITY, ModelConfig.Position.LRPE_DECAY, 0,
            List.of(true, false), DecaySchedule.RELEASED, DecayTemperature.BY_LAYER, ModelConfig.Gate.LINEAR, true,
            false, false, 0.02, 0, 1, 2);
    private static final StepBench BENCH = new StepBench(CONFIG, 2, 7, Recompute.NONE);

    @Test
    void aTokenOfTheModelCountsTheSameProducts() {
        assertThat(14 * CONFIG.trainingFlops()).isEqualTo(BENCH.flops());
    }

    @Test
    void theProductsCountedAreThoseThatAStepComputes() {
        double[] flops = new double[1];
        try (ObservedBackend backend = new ObservedBackend(
                BackendKind.SCALAR.open(Precision.F32, 1), (component, method, arguments, nanos) -> {
                    if (component.equals("Linear") && !method.equals("reserve")) {
                        flops[0] += flops(method, arguments);
                    }
                })) {
            Trainer trainer = BENCH.trainer(backend);
            trainer.next();
        }
        assertThat(BENCH.flops()).isEqualTo(flops[0]);
    }

    /** 2 T I O, from the arguments of Linear's methods. */
    private static double flops(String method, Object[] arguments) {
        Tensor tokens = (Tensor) arguments[0];
        Tensor matrix = (Tensor) arguments[method.equals("backwardWeight") ? 2 : 1];
        return 2.0 * tokens.dim(0) * matrix.dim(0) * matrix.dim(1);
    }

    @Test
    void eachDirectionTakesTheTimeOfItsRate() {
        List<GemmBench.Result> rates = List.of(rate(Direction.FORWARD, 1), rate(Direction.BACKWARD_INPUT, 2),
                rate(Direction.BACKWARD_WEIGHT, 4));
        assertThat(BENCH.productNanos(rates)).isCloseTo(BENCH.flops() / 3 * (1 + 0.5 + 0.25), within(1e-6));
    }

    private static GemmBench.Result rate(Direction direction, double gflops) {
        return new GemmBench.Result(new GemmShape(direction, 8, 8, 8), DType.F32, gflops, gflops, Double.NaN,
                Double.NaN);
    }

    @Test
    void aProfileSeesEveryCallOfAStep() {
        List<StepBench.Part> parts = BENCH.profile(BackendKind.SCALAR, Precision.F32, 1, 0.01);
        assertThat(parts).isSortedAccordingTo((a, b) -> Double.compare(b.nanos(), a.nanos()));
        assertThat(calls(parts, "Linear.forward")).isEqualTo(9);
        assertThat(calls(parts, "LightningAttention.backward")).isEqualTo(2);
        assertThat(calls(parts, "AdamW.step")).isPositive();
        assertThat(calls(parts, "Linear.reserve")).isZero();
    }

    /** Each would stop at another time by its own clock, and all wait for the one that goes on. */
    @Test
    void ranksTimeTheSameSteps() {
        Layout layout = new Layout(2, 2, 2);
        StepBench bench = new StepBench(Preset.NANO.config(64, 0, 1, 2), 4, 8, Recompute.FULL, layout,
                DataParallel.Mode.FULLY_SHARDED);
        StepBench.Result[] results = new StepBench.Result[layout.size()];
        InProcess.run(layout.size(), Duration.ofSeconds(60), world -> results[world.rank()] = bench.run(
                BackendKind.SCALAR, Precision.F32, 1, 0.01 * (1 + world.rank()), new StepBench.Ranks() {
                    @Override
                    public int rank() {
                        return world.rank();
                    }

                    @Override
                    public Mesh mesh(Layout place, Backend backend) {
                        return Mesh.of(place, world);
                    }

                    @Override
                    public boolean agreed(boolean mine) {
                        try (HostMemory memory = new HostMemory()) {
                            Tensor answer = memory.allocate(MemoryKind.DATA, "answer", DType.I32, 1);
                            answer.setInt(0, mine ? 1 : 0);
                            world.broadcast(answer, 0);
                            return answer.getInt(0) == 1;
                        }
                    }
                }));
        assertThat(results).extracting(result -> result.step().rounds()).containsOnly(results[0].step().rounds());
        assertThat(results[1].plan().total()).isLessThan(
                new StepBench(bench.config(), 4, 8, Recompute.FULL).run(BackendKind.SCALAR, Precision.F32, 1, 0.01)
                        .plan().total());
        assertThatThrownBy(() -> new StepBench(CONFIG, 3, 7, Recompute.NONE, layout, DataParallel.Mode.ZERO1))
                .hasMessageContainingAll("--batch 3", "2 ranks");
        assertThatThrownBy(() -> new StepBench(CONFIG, 4, 7, Recompute.NONE, layout, DataParallel.Mode.ZERO1))
                .hasMessageContainingAll("--sequence 7", "2 ranks");
    }

    private static double calls(List<StepBench.Part> parts, String call) {
        return parts.stream().filter(part -> part.call().equals(call)).mapToDouble(StepBench.Part::calls).sum();
    }
}
