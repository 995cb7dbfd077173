package org.transnormer.backend;

import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import org.transnormer.cuda.DeviceMemory;
import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.PlanMemory;

/** The backends by name, and the types that each can compute in. */
public enum BackendKind {
    /** The executable spec. */
    SCALAR(List.of(DType.F64, DType.F32, DType.BF16)),
    /** The fast CPU twins. */
    VECTOR(List.of(DType.F32, DType.BF16)),
    /** The twins on a GPU. */
    CUDA(List.of(DType.BF16, DType.F32));

    private final List<DType> dtypes;

    BackendKind(List<DType> dtypes) {
        this.dtypes = dtypes;
    }

    /** Types that it can be asked for, the usual one for training first. */
    public List<DType> dtypes() {
        return dtypes;
    }

    /**
     * What a type means on this backend: on the vector backend BF16 is the type of the weights only.
     *
     * @throws IllegalArgumentException if the backend does not have the type, naming those that it has
     */
    public Precision precision(DType dtype) {
        if (!dtypes.contains(dtype)) {
            throw new IllegalArgumentException("--backend %s has --dtype %s, not %s".formatted(lower(this),
                    String.join(", ", dtypes.stream().map(BackendKind::lower).toList()), lower(dtype)));
        }
        return switch (dtype) {
            case F64 -> Precision.F64;
            case F32 -> Precision.F32;
            default -> this == VECTOR ? Precision.BF16_WEIGHTS : Precision.BF16;
        };
    }

    /**
     * Opens it, with memory that is taken as it is asked for.
     *
     * @param threads of the vector backend
     * @throws org.transnormer.EnvironmentException if this machine does not have what it needs
     */
    public Backend open(Precision precision, int threads) {
        return open(precision, threads, new MemoryPlan());
    }

    /**
     * Opens it; a GPU's memory is taken at once.
     *
     * @param plan what {@link #plan} counted
     * @throws org.transnormer.tensor.OutOfMemoryException if it is not there
     */
    public Backend open(Precision precision, int threads, MemoryPlan plan) {
        return switch (this) {
            case SCALAR -> new ScalarBackend(precision, new HostMemory());
            case VECTOR -> new VectorBackend(precision, new HostMemory(), threads);
            case CUDA -> openCuda(precision, gpu -> new DeviceMemory(gpu.stream(), plan));
        };
    }

    /** Opens it without memory: what is constructed on it is counted in the plan of its memory. */
    public Backend plan(Precision precision, int threads) {
        return switch (this) {
            case SCALAR -> new ScalarBackend(precision, new PlanMemory());
            case VECTOR -> new VectorBackend(precision, new PlanMemory(), threads);
            case CUDA -> openCuda(precision, _ -> new PlanMemory(DeviceMemory.ALIGNMENT));
        };
    }

    private static Backend openCuda(Precision precision, Function<Gpu, Memory> memory) {
        Gpu gpu = Gpu.open();
        try {
            return new CudaBackend(precision, gpu, memory.apply(gpu));
        } catch (RuntimeException e) {
            gpu.close();
            throw e;
        }
    }

    private static String lower(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }
}
