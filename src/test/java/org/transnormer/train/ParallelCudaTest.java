package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import net.jqwik.api.Example;
import net.jqwik.api.Tag;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.GpuRanks;

/** Ranks with a GPU each, which exchange by NCCL, compute what one GPU computes. SPEC section 7. */
@Tag("gpus")
class ParallelCudaTest {
    private static final int STEPS = 5;
    /** Of F32, as on the vector backend. */
    private static final double GRADIENTS = 2e-5;
    private static final double TRAINED = 2e-5;
    private static final int READERS = 2;

    /** Rounding errors of two runs in BF16 are of one size, and as good as independent. */
    private static final double TWICE = 2;

    private static final Layout ALONE = new Layout(1, 1);
    private static final Layout TENSOR = new Layout(1, 2);
    private static final Layout DATA = new Layout(2, 1);
    private static final Layout SEQUENCE = new Layout(1, 2, 1);

    @Example
    void tensorParallel() {
        GpuRanks.require(2);
        compare(TENSOR, Mode.REPLICATED, TensorParallelTest.released(2), Recompute.NONE);
        compare(TENSOR, Mode.REPLICATED, TensorParallelTest.everyParameter(), Recompute.FULL);
    }

    @Example
    void dataParallelInEveryMode() {
        GpuRanks.require(2);
        for (Mode mode : Mode.values()) {
            compare(DATA, mode, TensorParallelTest.released(1), Recompute.NONE);
        }
        compare(DATA, Mode.FULLY_SHARDED, TensorParallelTest.everyParameter(), Recompute.FULL);
    }

    @Example
    void dataAndTensorParallel() {
        GpuRanks.require(4);
        compare(new Layout(2, 2), Mode.FULLY_SHARDED, TensorParallelTest.everyParameter(), Recompute.FULL);
    }

    @Example
    void sequenceParallelInEveryMode() {
        GpuRanks.require(2);
        for (Mode mode : Mode.values()) {
            compare(SEQUENCE, mode, TensorParallelTest.released(1), Recompute.NONE);
        }
        compare(SEQUENCE, Mode.FULLY_SHARDED, TensorParallelTest.everyParameter(), Recompute.FULL);
        compare(SEQUENCE, Mode.REPLICATED, TensorParallelTest.everyParameter(), Recompute.GLU);
    }

    @Example
    void sequenceParallelOverMore() {
        GpuRanks.require(4);
        compare(new Layout(1, 3, 1), Mode.FULLY_SHARDED, TensorParallelTest.released(1), Recompute.FULL);
        compare(new Layout(1, 2, 2), Mode.REPLICATED, TensorParallelTest.released(1), Recompute.ATTENTION);
        compare(new Layout(2, 2, 1), Mode.ZERO1, TensorParallelTest.everyParameter(), Recompute.NONE);
    }

    /**
     * The kernels of 128 channels, and, from one part to the other, many chunks. In BF16 the two parts are as far from F32
     * as one GPU is: the gradient of theta is a sum over positions that cancels, so its own size bounds nothing.
     */
    @Example
    void sequenceParallelOverALongSequence() {
        GpuRanks.require(2);
        ModelConfig config = new ModelConfig(61, 128, 2, 1, 128, 64, NormType.SRMSNORM, ActivationFunction.SILU,
                ActivationFunction.IDENTITY, Position.LRPE_DECAY, 0, List.of(true, false), DecaySchedule.RELEASED,
                DecayTemperature.BY_LAYER, Gate.LINEAR, true, false, true, 0.1, 0, 1, 2);
        ParallelRun exact = longSequence(config, Precision.F32);
        new ParallelCase(SEQUENCE, Mode.REPLICATED, 0).compare(exact, 1, GRADIENTS, TRAINED);
        ParallelRun rounded = longSequence(config, Precision.BF16);
        try (HostMemory memory = new HostMemory()) {
            var want = exact.on(ALONE, Mode.REPLICATED, 1, memory).gradients();
            var one = rounded.on(ALONE, Mode.REPLICATED, 1, memory).gradients();
            var two = rounded.on(SEQUENCE, Mode.REPLICATED, 1, memory).gradients();
            want.forEach((name, gradient) -> assertThat(distance(two.get(name), gradient)).as(name)
                    .isLessThanOrEqualTo(TWICE * distance(one.get(name), gradient)));
        }
    }

    private static ParallelRun longSequence(ModelConfig config, Precision precision) {
        return new ParallelRun(config, BackendKind.CUDA, precision, 1024, 1, 1, Recompute.FULL, false, 3);
    }

    private static double distance(Tensor a, Tensor b) {
        double sum = 0;
        for (long i = 0; i < a.size(); i++) {
            sum += (a.getFlat(i) - b.getFlat(i)) * (a.getFlat(i) - b.getFlat(i));
        }
        return Math.sqrt(sum);
    }

    private static void compare(Layout layout, Mode mode, ModelConfig config, Recompute recompute) {
        new ParallelCase(layout, mode, 0).compare(run(config, Precision.F32, recompute), STEPS, GRADIENTS, TRAINED);
    }

    /** Losses, norms, gradients and weights, whatever the ranks do first. */
    @Example
    void aRunRepeatsBitForBit() {
        GpuRanks.require(2);
        for (Layout layout : List.of(TENSOR, DATA, SEQUENCE)) {
            for (Precision precision : new Precision[] {Precision.F32, Precision.BF16}) {
                try (HostMemory memory = new HostMemory()) {
                    ParallelRun run = run(TensorParallelTest.released(2), precision, Recompute.NONE);
                    ParallelRun.Result first = run.on(layout, Mode.FULLY_SHARDED, 2, memory);
                    ParallelRun.Result second = run.on(layout, Mode.FULLY_SHARDED, 2, memory);
                    assertThat(second.losses()).isEqualTo(first.losses());
                    assertThat(second.norms()).isEqualTo(first.norms());
                    first.gradients().forEach((name, gradient) -> assertThat(second.gradients().get(name).segment()
                            .mismatch(gradient.segment())).as(name).isEqualTo(-1));
                    first.weights().forEach((name, weight) -> assertThat(second.weights().get(name).segment()
                            .mismatch(weight.segment())).as(name).isEqualTo(-1));
                }
            }
        }
    }

    private static ParallelRun run(ModelConfig config, Precision precision, Recompute recompute) {
        return new ParallelRun(config, BackendKind.CUDA, precision, 12, READERS, 2, recompute, false, 7);
    }
}
