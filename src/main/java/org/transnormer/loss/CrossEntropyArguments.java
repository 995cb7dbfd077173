package org.transnormer.loss;

import java.util.Arrays;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** What every twin checks at its entry. */
final class CrossEntropyArguments {
    private CrossEntropyArguments() {
    }

    static void partial(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum,
            Tensor target) {
        if (logits.rank() != 2) {
            throw new IllegalArgumentException("loss: logits is %s, want a matrix".formatted(logits));
        }
        if (first < 0 || columns < 0 || columns > logits.dim(1)) {
            throw new IllegalArgumentException("loss: first column %d and %d columns of %s"
                    .formatted(first, columns, logits));
        }
        shape("targets", targets, logits.dim(0));
        if (targets.dtype() != DType.I32) {
            throw new IllegalArgumentException("loss: targets is %s, want I32".formatted(targets));
        }
        perToken("max", max, logits.dim(0));
        perToken("sum", sum, logits.dim(0));
        perToken("target", target, logits.dim(0));
    }

    static void rescale(Tensor max, Tensor globalMax, Tensor sum) {
        perToken("max", max, sum.dim(0));
        perToken("globalMax", globalMax, sum.dim(0));
        perToken("sum", sum, sum.dim(0));
    }

    static void apply(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum, Tensor target,
            Tensor scale, Tensor losses, Tensor dlogits) {
        partial(logits, targets, first, columns, max, sum, target);
        perToken("scale", scale, 1);
        perToken("losses", losses, logits.dim(0));
        if (dlogits != null) {
            shape("dlogits", dlogits, logits.shape());
        }
    }

    static void total(Tensor losses, Tensor total) {
        perToken("losses", losses, losses.dim(0));
        perToken("total", total, 1);
    }

    static void float32(String role, Tensor t) {
        if (t.dtype() != DType.F32) {
            throw new IllegalArgumentException("loss: %s is %s, want F32".formatted(role, t));
        }
    }

    private static void perToken(String role, Tensor t, long tokens) {
        shape(role, t, tokens);
        if (t.dtype() != DType.F32 && t.dtype() != DType.F64) {
            throw new IllegalArgumentException("loss: %s is %s, want F32 or F64".formatted(role, t));
        }
    }

    private static void shape(String role, Tensor t, long... want) {
        if (!Arrays.equals(t.shape(), want)) {
            throw new IllegalArgumentException("loss: %s is %s, want %s".formatted(role, t, Arrays.toString(want)));
        }
    }
}
