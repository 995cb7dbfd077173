package org.transnormer.linear;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.Example;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.SameBits;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** The vector twin gives the same bits for any number of threads, at any vector width, interpreted or compiled. */
class LinearBitsTest {
    /** T, I, O: dot products; tiles cut on all sides; more k than one pass takes; more tasks than threads. */
    private static final long[][] SHAPES = {{3, 64, 41}, {26, 19, 35}, {5, 515, 10}, {75, 5, 7}};

    @Example
    void bitsAreTheSameEverywhere() {
        String alone = compute(1);
        assertThat(compute(2)).isEqualTo(alone);
        assertThat(compute(3)).isEqualTo(alone);
        SameBits.assertEverywhere(LinearBitsTest.class, alone);
    }

    public static void main(String[] args) {
        System.out.print(compute(2));
    }

    private static String compute(int threads) {
        StringBuilder lines = new StringBuilder();
        try (Workers workers = new Workers(threads); TestTensors t = new TestTensors(7)) {
            Linear linear = new LinearVector(workers, new Workspace(t.memory()));
            for (long[] shape : SHAPES) {
                lines.append(compute(linear, t, DType.F32, true, shape[0], shape[1], shape[2]));
                lines.append(compute(linear, t, DType.BF16, false, shape[0], shape[1], shape[2]));
            }
        }
        return lines.toString();
    }

    /** @param more whether there are bias and residual, and gradients are added to what is there */
    private static String compute(Linear linear, TestTensors t, DType weights, boolean more, long tokens, long in,
            long out) {
        Tensor x = t.random("x", DType.F32, Values.NORMAL, tokens, in);
        Tensor w = t.random("w", weights, Values.NORMAL, out, in);
        Tensor b = t.random("b", DType.F32, Values.NORMAL, out);
        Tensor dy = t.random("dy", DType.F32, Values.NORMAL, tokens, out);
        Tensor y = t.random("y", DType.F32, Values.NORMAL, tokens, out);
        Tensor dx = t.random("dx", DType.F32, Values.NORMAL, tokens, in);
        Tensor dw = t.random("dw", DType.F32, Values.NORMAL, out, in);
        Tensor db = t.random("db", DType.F32, Values.NORMAL, out);
        linear.forward(x, w, more ? b : null, more ? y : null, y);
        linear.backwardInput(dy, w, dx, more);
        linear.backwardWeight(x, dy, dw, db, more);
        return SameBits.checksum(y) + SameBits.checksum(dx) + SameBits.checksum(dw) + SameBits.checksum(db);
    }
}
