package org.transnormer.linear;

import java.util.Arrays;
import org.transnormer.tensor.Tensor;

/** The shape checks that all twins share; each runs once per call. */
final class LinearArguments {
    private LinearArguments() {
    }

    static void forward(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y) {
        matrix("x", x);
        matrix("w", w);
        shape("x", x, x.dim(0), w.dim(1));
        shape("y", y, x.dim(0), w.dim(0));
        if (b != null) {
            shape("b", b, w.dim(0));
        }
        if (residual != null) {
            shape("residual", residual, x.dim(0), w.dim(0));
        }
    }

    /** What x is made of, and where it would be written: other is a gate or a factor, or null. */
    static void input(Tensor x, Tensor other, Tensor made) {
        matrix("x", x);
        shape("what is made of x", made, x.dim(0), x.dim(1));
        if (other != null) {
            shape("gate or factor", other, x.dim(0), x.dim(1));
            if (other.dtype() != x.dtype()) {
                throw new IllegalArgumentException("linear: gate or factor is %s, x is %s".formatted(other, x));
            }
        }
    }

    static void backwardInput(Tensor dy, Tensor w, Tensor dx) {
        matrix("dy", dy);
        matrix("w", w);
        shape("dy", dy, dy.dim(0), w.dim(0));
        shape("dx", dx, dy.dim(0), w.dim(1));
    }

    static void backwardWeight(Tensor x, Tensor dy, Tensor dw, Tensor db) {
        matrix("x", x);
        matrix("dy", dy);
        shape("dy", dy, x.dim(0), dy.dim(1));
        shape("dw", dw, dy.dim(1), x.dim(1));
        if (db != null) {
            shape("db", db, dy.dim(1));
        }
    }

    private static void matrix(String role, Tensor t) {
        if (t.rank() != 2) {
            throw new IllegalArgumentException("linear: %s is %s, want a matrix".formatted(role, t));
        }
    }

    private static void shape(String role, Tensor t, long rows, long columns) {
        if (t.rank() != 2 || t.dim(0) != rows || t.dim(1) != columns) {
            throw new IllegalArgumentException("linear: %s is %s, want [%d, %d]".formatted(role, t, rows, columns));
        }
    }

    private static void shape(String role, Tensor t, long length) {
        if (t.rank() != 1 || t.dim(0) != length) {
            throw new IllegalArgumentException("linear: %s is %s, want %s"
                    .formatted(role, t, Arrays.toString(new long[] {length})));
        }
    }
}
