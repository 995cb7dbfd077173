package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import net.jqwik.api.Example;
import net.jqwik.api.Tag;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.tensor.HostMemory;
import org.transnormer.testing.GpuRanks;

/** Ranks with a GPU each, which exchange by NCCL, compute what one GPU computes. SPEC section 7. */
@Tag("gpus")
class ParallelCudaTest {
    private static final int STEPS = 5;
    /** Of F32, as on the vector backend. */
    private static final double GRADIENTS = 2e-5;
    private static final double TRAINED = 2e-5;
    private static final int READERS = 2;

    private static final Layout TENSOR = new Layout(1, 2);
    private static final Layout DATA = new Layout(2, 1);

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

    private static void compare(Layout layout, Mode mode, ModelConfig config, Recompute recompute) {
        new ParallelCase(layout, mode, 0).compare(run(config, Precision.F32, recompute), STEPS, GRADIENTS, TRAINED);
    }

    /** Losses, norms, gradients and weights, whatever the ranks do first. */
    @Example
    void aRunRepeatsBitForBit() {
        GpuRanks.require(2);
        for (Layout layout : List.of(TENSOR, DATA)) {
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
