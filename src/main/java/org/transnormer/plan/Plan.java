package org.transnormer.plan;

import org.transnormer.tensor.MemoryPlan;

/**
 * What a rank of a training run needs and how long its steps take.
 *
 * @param rank whose plan it is
 * @param memory that it allocates
 * @param step what it does in a step
 */
public record Plan(Accelerator device, Setup setup, int rank, MemoryPlan memory, Sums step) {
    /** What kernels and libraries take of a device beside the plan, with room. */
    public static final long LIBRARIES = 512L << 20;

    /** Bytes that it takes of a device. */
    public long bytes() {
        return memory.total() + LIBRARIES;
    }

    public boolean fits() {
        return bytes() <= device.memory();
    }

    public double seconds() {
        return step.nanos() / 1e9;
    }

    /** Tokens per second of all ranks. */
    public double tokensPerSecond() {
        return setup.tokens() / seconds();
    }

    /** Tokens per second and GPU. */
    public double tokensPerSecondEach() {
        return tokensPerSecond() / setup.layout().size();
    }

    /** Share of the BF16 peak that the products of training reach, those that are computed again not counted. */
    public double utilisation() {
        return setup.config().trainingFlops() * tokensPerSecondEach() / device.bf16();
    }
}
