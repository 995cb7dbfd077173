package org.transnormer.testing;

import static org.assertj.core.api.Assertions.assertThat;

import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * A poisoned matrix with poisoned elements behind every row and poisoned rows behind the last.
 *
 * @param whole the frame with what is in it
 * @param inside the matrix
 */
public record Framed(Tensor whole, Tensor inside) {
    private static final long ROWS = 5;

    /** A matrix in a frame of {@code gap} elements a row. */
    public static Framed of(TestTensors tensors, String name, DType dtype, long gap, long rows, long columns) {
        Tensor whole = tensors.poisoned(name, dtype, rows + ROWS, columns + gap);
        return new Framed(whole, whole.slice(0, 0, rows).slice(1, 0, columns));
    }

    /** Fails if anything was written outside, or anything inside was not. */
    public void assertFilled() {
        for (long t = 0; t < whole.dim(0); t++) {
            for (long j = 0; j < whole.dim(1); j++) {
                assertThat(Double.isNaN(whole.get(t, j))).as("%s[%d, %d] is poison", whole.name(), t, j)
                        .isEqualTo(t >= inside.dim(0) || j >= inside.dim(1));
            }
        }
    }
}
