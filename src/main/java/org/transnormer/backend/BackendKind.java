package org.transnormer.backend;

import java.util.List;
import java.util.Locale;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;

/** The backends by name, and the types that each can compute in. */
public enum BackendKind {
    /** The executable spec. */
    SCALAR(List.of(DType.F64, DType.F32, DType.BF16)),
    /** The fast CPU twins. */
    VECTOR(List.of(DType.F32, DType.BF16));

    private final List<DType> dtypes;

    BackendKind(List<DType> dtypes) {
        this.dtypes = dtypes;
    }

    /** Types that it can be asked for. */
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
            default -> this == SCALAR ? Precision.BF16 : Precision.BF16_WEIGHTS;
        };
    }

    /**
     * Opens it.
     *
     * @param threads of the vector backend
     */
    public Backend open(Precision precision, Memory memory, int threads) {
        return switch (this) {
            case SCALAR -> new ScalarBackend(precision, memory);
            case VECTOR -> new VectorBackend(precision, memory, threads);
        };
    }

    private static String lower(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }
}
