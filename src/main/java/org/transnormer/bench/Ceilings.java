package org.transnormer.bench;

import org.transnormer.backend.Backend;
import org.transnormer.backend.Work;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * The best rates of a machine, measured.
 *
 * @param bytesPerSecond of a large copy, read and written
 * @param flopsPerSecond of a large square product of the type that a model's matrices have
 */
public record Ceilings(double bytesPerSecond, double flopsPerSecond) {
    private static final int ROUNDS = 20;

    /** Least nanoseconds that some work takes at these rates. */
    public double floorNanos(Work work) {
        return work.floorNanos(bytesPerSecond, flopsPerSecond);
    }

    /**
     * Measures a backend.
     *
     * @param copied bytes of the tensor that is copied: several times the caches
     * @param size rows and columns of the product
     */
    public static Ceilings of(Backend backend, long copied, int size) {
        Memory memory = backend.memory();
        long n = copied / DType.F32.bytes();
        Tensor from = memory.allocate(MemoryKind.WORKSPACE, "copied", DType.F32, n);
        Tensor to = memory.allocate(MemoryKind.WORKSPACE, "copy", DType.F32, n);
        DType dtype = backend.precision().weights();
        Tensor x = RandomTensors.allocate(memory, "x", dtype, size, size);
        Tensor w = RandomTensors.allocate(memory, "w", dtype, size, size);
        Tensor y = memory.allocate(MemoryKind.WORKSPACE, "y", dtype, size, size);
        double copy = MarkedTiming.median(backend, ROUNDS, () -> backend.copy(from, to));
        double product = MarkedTiming.median(backend, ROUNDS, () -> backend.linear().forward(x, w, null, null, y));
        return new Ceilings(2.0 * copied / copy * 1e9, 2.0 * size * size * size / product * 1e9);
    }
}
