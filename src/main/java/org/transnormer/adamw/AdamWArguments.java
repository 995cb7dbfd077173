package org.transnormer.adamw;

import java.util.Arrays;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** What every twin of {@link AdamW} and {@link GradientNorm} checks at its entry. */
final class AdamWArguments {
    private AdamWArguments() {
    }

    static void step(Tensor master, Tensor weight, Tensor gradient, Tensor m, Tensor v, Tensor scalars) {
        likeMaster("master", master, master);
        likeMaster("weight", weight, master);
        likeMaster("gradient", gradient, master);
        likeMaster("m", m, master);
        likeMaster("v", v, master);
        if (scalars.rank() != 1 || scalars.dim(0) != AdamW.Scalar.values().length || scalars.dtype() != DType.F64) {
            throw new IllegalArgumentException("adamw: scalars is %s, want F64 [4]".formatted(scalars));
        }
    }

    static void partial(Tensor gradient, Tensor total) {
        likeMaster("gradient", gradient, gradient);
        scalar("total", total);
    }

    static void apply(Tensor total, double limit, Tensor norm, Tensor clip) {
        scalar("total", total);
        scalar("norm", norm);
        scalar("clip", clip);
        if (!(limit >= 0)) {
            throw new IllegalArgumentException("adamw: the clip limit is 0 (none) or positive, not " + limit);
        }
    }

    static void type(String role, Tensor t, DType... allowed) {
        if (!Arrays.asList(allowed).contains(t.dtype())) {
            throw new IllegalArgumentException("adamw: %s is %s, want %s".formatted(role, t,
                    Arrays.toString(allowed)));
        }
    }

    private static void likeMaster(String role, Tensor t, Tensor master) {
        if (!Arrays.equals(t.shape(), master.shape())) {
            throw new IllegalArgumentException("adamw: %s is %s, want %s"
                    .formatted(role, t, Arrays.toString(master.shape())));
        }
        if (!t.isContiguous()) {
            throw new IllegalArgumentException("adamw: %s is %s with gaps, want it contiguous".formatted(role, t));
        }
    }

    private static void scalar(String role, Tensor t) {
        if (t.rank() != 1 || t.dim(0) != 1 || t.dtype() != DType.F64) {
            throw new IllegalArgumentException("adamw: %s is %s, want F64 [1]".formatted(role, t));
        }
    }
}
