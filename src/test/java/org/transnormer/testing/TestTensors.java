package org.transnormer.testing;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** Tensors for tests: random, NaN-poisoned, strided inside a wider poisoned buffer, copies in other types. */
public final class TestTensors implements AutoCloseable {
    private final HostMemory memory = new HostMemory();
    private final RandomGenerator random;

    public TestTensors(long seed) {
        random = new SplittableRandom(seed);
    }

    /** A vector in native memory, F64. */
    public static Tensor numbers(double... values) {
        Tensor t = Tensor.allocate(Arena.ofAuto(), "numbers", DType.F64, values.length);
        for (int i = 0; i < values.length; i++) {
            t.set(i, values[i]);
        }
        return t;
    }

    public HostMemory memory() {
        return memory;
    }

    public RandomGenerator random() {
        return random;
    }

    /** Filled with NaN (integers: the smallest integer): what is not written is seen. */
    public Tensor poisoned(String name, DType dtype, long... shape) {
        Tensor t = memory.allocate(MemoryKind.WORKSPACE, name, dtype, shape);
        t.fill(dtype == DType.I32 ? Integer.MIN_VALUE : Double.NaN);
        return t;
    }

    /** Poisoned, and with a gap of {@code gap} poisoned elements after each entry of the first axis. */
    public Tensor strided(String name, DType dtype, long gap, long... shape) {
        long row = 1;
        for (int i = 1; i < shape.length; i++) {
            row *= shape[i];
        }
        Tensor wide = poisoned(name, dtype, shape[0], row + gap);
        return wide.slice(1, 0, row).reshape(shape);
    }

    public Tensor zeros(String name, DType dtype, long... shape) {
        return memory.allocate(MemoryKind.WORKSPACE, name, dtype, shape);
    }

    public Tensor random(String name, DType dtype, Values values, long... shape) {
        return fill(zeros(name, dtype, shape), values);
    }

    /** Overwrites t with random values, rounded to its type. */
    public Tensor fill(Tensor t, Values values) {
        double constant = random.nextGaussian();
        for (long i = 0; i < t.size(); i++) {
            t.setFlat(i, switch (values) {
                case NORMAL -> random.nextGaussian();
                case UNIFORM -> random.nextDouble() * 2 - 1;
                case OFFSET -> 100 + random.nextGaussian();
                case LARGE -> 1e6 * random.nextGaussian();
                case TINY -> 1e-6 * random.nextGaussian();
                case SPARSE -> random.nextInt(8) == 0 ? random.nextGaussian() : 0;
                case CONSTANT -> constant;
            });
        }
        return t;
    }

    /** A contiguous copy in another type: the same rounded inputs for the spec. */
    public Tensor copy(Tensor t, DType dtype) {
        Tensor copy = zeros(t.name(), dtype, t.shape());
        copy.copyFrom(t);
        return copy;
    }

    /** |t| in F64: the spec run on it gives Σ|terms| of a multilinear component. */
    public Tensor magnitude(Tensor t) {
        Tensor copy = copy(t, DType.F64);
        for (long i = 0; i < copy.size(); i++) {
            copy.setFlat(i, Math.abs(copy.getFlat(i)));
        }
        return copy;
    }

    @Override
    public void close() {
        memory.close();
    }
}
