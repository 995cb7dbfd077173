package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.Tag;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.tensor.HostMemory;
import org.transnormer.testing.GpuRanks;

/** Tensor parallelism over GPUs that exchange by NCCL computes what one GPU computes. SPEC section 7.2. */
@Tag("gpus")
class TensorParallelCudaTest {
    private static final int STEPS = 5;
    /** Of F32, as on the vector backend. */
    private static final double GRADIENTS = 2e-5;
    /** AdamW divides by the gradient's own size: an update keeps the gradient's relative error, not the weight's. */
    private static final double TRAINED = 2e-5;

    private static int[] sizes() {
        GpuRanks.require(2);
        return IntStream.of(2, 4).filter(size -> size <= GpuRanks.count()).toArray();
    }

    @Example
    void fiveStepsAreThoseOfOneGpu() {
        for (int size : sizes()) {
            TensorParallelTest.compare(run(TensorParallelTest.released(size), Precision.F32, Recompute.NONE), size, STEPS,
                    GRADIENTS, TRAINED);
        }
    }

    @Example
    void fiveStepsWithEveryParameterAreThoseOfOneGpu() {
        GpuRanks.require(2);
        TensorParallelTest.compare(run(TensorParallelTest.everyParameter(), Precision.F32, Recompute.FULL), 2, STEPS,
                GRADIENTS, TRAINED);
    }

    /** Losses, norms, gradients and weights, whatever the ranks' threads do in what order. */
    @Example
    void aRunRepeatsBitForBit() {
        GpuRanks.require(2);
        for (Precision precision : new Precision[] {Precision.F32, Precision.BF16}) {
            try (HostMemory memory = new HostMemory()) {
                TensorParallelRun run = run(TensorParallelTest.released(2), precision, Recompute.NONE);
                TensorParallelRun.Result first = run.on(2, 2, memory);
                TensorParallelRun.Result second = run.on(2, 2, memory);
                assertThat(second.losses()).isEqualTo(first.losses());
                assertThat(second.norms()).isEqualTo(first.norms());
                first.gradients().forEach((name, gradient) -> assertThat(second.gradients().get(name).segment()
                        .mismatch(gradient.segment())).as(name).isEqualTo(-1));
                first.weights().forEach((name, weight) -> assertThat(second.weights().get(name).segment()
                        .mismatch(weight.segment())).as(name).isEqualTo(-1));
            }
        }
    }

    private static TensorParallelRun run(ModelConfig config, Precision precision, Recompute recompute) {
        return new TensorParallelRun(config, BackendKind.CUDA, precision, 24, recompute, false, 7);
    }
}
