package org.transnormer.srmsnorm;

import java.util.Locale;
import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** The checks that all twins of all norms make at their entry. */
final class NormArguments {
    private NormArguments() {
    }

    static void partial(Norm norm, Tensor x, Tensor statistics) {
        sums(norm, "statistics", x, statistics);
    }

    static void apply(Norm norm, Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate,
            Tensor y) {
        input(norm, x, statistics, width, parameters, gate);
        Arguments.shape(name(norm), "y", y, x.shape());
    }

    static void backwardPartial(Norm norm, Tensor x, Tensor statistics, long width, NormParameters parameters,
            Tensor gate, Tensor dy, Tensor sums) {
        input(norm, x, statistics, width, parameters, gate);
        Arguments.shape(name(norm), "dy", dy, x.shape());
        sums(norm, "sums", x, sums);
    }

    static void backwardApply(Norm norm, Tensor x, Tensor statistics, Tensor sums, long width,
            NormParameters parameters, Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate,
            NormParameters dparameters) {
        backwardPartial(norm, x, statistics, width, parameters, gate, dy, sums);
        if (residual != null) {
            Arguments.shape(name(norm), "residual", residual, x.shape());
        }
        Arguments.shape(name(norm), "dx", dx, x.shape());
        if ((gate == null) != (dgate == null)) {
            throw new IllegalArgumentException("%s: gate is %s and dgate is %s, want both or neither"
                    .formatted(name(norm), gate, dgate));
        }
        if (gate != null) {
            Arguments.shape(name(norm), "dgate", dgate, x.shape());
        }
        parameters(norm, "gradient of ", x, dparameters);
    }

    /** What a vector twin asks for on top; a tensor may be null. */
    static void f32(Norm norm, Tensor... tensors) {
        for (Tensor t : tensors) {
            if (t != null) {
                Arguments.f32(name(norm), t.name(), t);
            }
        }
    }

    /** What a CUDA twin asks for on top: all as x, F32 or BF16; statistics and sums in the type of sums; null allowed. */
    static void device(Norm norm, Tensor x, Tensor statistics, Tensor sums, Tensor... others) {
        Arguments.f32OrBf16(name(norm), x.name(), x);
        for (Tensor t : others) {
            if (t != null) {
                Arguments.dtype(name(norm), t.name(), t, x.dtype());
            }
        }
        DType accumulation = NormLayer.statisticsType(type(norm), DType.F32);
        Arguments.dtype(name(norm), "statistics", statistics, accumulation);
        if (sums != null) {
            Arguments.dtype(name(norm), "sums", sums, accumulation);
        }
    }

    private static void input(Norm norm, Tensor x, Tensor statistics, long width, NormParameters parameters,
            Tensor gate) {
        sums(norm, "statistics", x, statistics);
        if (width < x.dim(1)) {
            throw new IllegalArgumentException("%s: width is %d, want at least the %d channels of x"
                    .formatted(name(norm), width, x.dim(1)));
        }
        parameters(norm, "", x, parameters);
        if (gate != null) {
            Arguments.shape(name(norm), "gate", gate, x.shape());
        }
    }

    private static void sums(Norm norm, String role, Tensor x, Tensor sums) {
        Arguments.shape(name(norm), role, sums, x.dim(0), norm.statistics());
        if (norm instanceof LayerNorm && sums.dtype() != DType.F64) {
            throw new IllegalArgumentException("%s: %s is %s, want F64".formatted(name(norm), role, sums));
        }
    }

    private static void parameters(Norm norm, String prefix, Tensor x, NormParameters parameters) {
        NormType type = type(norm);
        parameter(norm, prefix + "weight", x, type.hasWeight(), parameters.weight());
        parameter(norm, prefix + "bias", x, type.hasBias(), parameters.bias());
    }

    private static void parameter(Norm norm, String role, Tensor x, boolean wanted, Tensor parameter) {
        if (wanted != (parameter != null)) {
            throw new IllegalArgumentException("%s: %s is %s, want %s".formatted(name(norm), role, parameter,
                    wanted ? "[" + x.dim(1) + "]" : "none"));
        }
        if (wanted) {
            Arguments.shape(name(norm), role, parameter, x.dim(1));
        }
    }

    private static String name(Norm norm) {
        return type(norm).name().toLowerCase(Locale.ROOT);
    }

    private static NormType type(Norm norm) {
        return switch (norm) {
            case SrmsNorm _ -> NormType.SRMSNORM;
            case RmsNorm _ -> NormType.RMSNORM;
            case LayerNorm _ -> NormType.LAYERNORM;
        };
    }
}
