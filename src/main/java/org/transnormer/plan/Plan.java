package org.transnormer.plan;

import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
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
    private static final long LIBRARIES = 512L << 20;
    /**
     * Of NCCL's first communicator and of each further one of a process: two ranks with its default channels, by NVLink.
     * More ranks are taken to need as much, which is not measured.
     */
    private static final long FIRST_COMMUNICATOR = 866L << 20;
    private static final long FURTHER_COMMUNICATOR = 487L << 20;

    /** Bytes that kernels and libraries take of the device of a rank beside the plan, with room. */
    public static long libraries(Layout layout) {
        int communicators = Mesh.communicators(layout);
        return LIBRARIES + (communicators == 0 ? 0 : FIRST_COMMUNICATOR + (communicators - 1) * FURTHER_COMMUNICATOR)
                + Mesh.besideBytes(layout);
    }

    /** Bytes that it takes of a device. */
    public long bytes() {
        return memory.total() + libraries(setup.layout());
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
