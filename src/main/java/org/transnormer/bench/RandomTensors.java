package org.transnormer.bench;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/** Tensors to compute with where only the time counts: zeros would be faster than what comes in practice. */
final class RandomTensors {
    /** Random values that the others repeat. */
    private static final int PERIOD = 1 << 20;

    private RandomTensors() {
    }

    /** A tensor of values between -0.5 and 0.5, wherever the memory is. */
    static Tensor allocate(Memory memory, String name, DType dtype, long... shape) {
        Tensor t = memory.allocate(MemoryKind.ACTIVATIONS, name, dtype, shape);
        if (t.storage() instanceof Storage.Device) {
            try (Arena arena = Arena.ofConfined()) {
                Tensor onHost = Tensor.allocate(arena, name, dtype, t.size());
                fill(onHost);
                t.reshape(t.size()).copyFrom(onHost);
            }
        } else {
            fill(t.reshape(t.size()));
        }
        return t;
    }

    private static void fill(Tensor t) {
        SplittableRandom random = new SplittableRandom(t.name().hashCode());
        long drawn = Math.min(PERIOD, t.size());
        for (long i = 0; i < drawn; i++) {
            t.set(i, random.nextDouble() - 0.5);
        }
        for (long i = drawn; i < t.size(); i += drawn) {
            long n = Math.min(drawn, t.size() - i);
            t.slice(0, i, i + n).copyFrom(t.slice(0, 0, n));
        }
    }
}
