package org.transnormer.inference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.lightning.LightningRecurrent;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** The form of the paper's first inference algorithm overflows where the robust recurrence, on the same F32 state, does not. */
class OriginalInferenceTest {
    private static final int DK = 6;
    private static final int DV = 5;
    private static final int TOKENS = 400;

    @Test
    void agreesWithTheRobustFormUntilItOverflows() {
        for (double rate : new double[] {0.84, 0.5}) {
            long last = OriginalInference.lastFinitePosition(rate);
            assertThat(Math.exp(rate * last)).isLessThan(Float.MAX_VALUE);
            assertThat(Math.exp(rate * (last + 1))).isGreaterThan(Float.MAX_VALUE);
            double[][][] outputs = run(rate);
            for (int t = 0; t < TOKENS; t++) {
                assertThat(outputs[0][t]).as("robust, token %d", t).doesNotContain(Double.NaN,
                        Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY);
                // positions count from 1, and the sum over tokens is a few times its last term
                if (t + 1 <= last - 5) {
                    assertThat(outputs[1][t]).as("original, token %d", t).containsExactly(outputs[0][t], within(1e-5));
                } else if (t + 1 > last) {
                    assertThat(outputs[1][t]).as("original, token %d", t).containsOnly(Double.NaN);
                }
            }
        }
    }

    @Test
    void overflowsAtTheHundredAndSixthTokenForTheRateInItsDescription() {
        assertThat(OriginalInference.lastFinitePosition(0.84)).isEqualTo(105);
    }

    @Test
    void withoutDecayNothingOverflows() {
        double[][][] outputs = run(0);
        assertThat(outputs[1][TOKENS - 1]).containsExactly(outputs[0][TOKENS - 1], within(1e-4));
    }

    /** Outputs (robust and original, token, channel) of one head token by token. */
    private static double[][][] run(double rate) {
        double[][][] outputs = new double[2][TOKENS][DV];
        try (TestTensors tensors = new TestTensors(3)) {
            Tensor q = tensors.random("q", DType.F32, Values.UNIFORM, TOKENS, 1, DK);
            Tensor k = tensors.random("k", DType.F32, Values.UNIFORM, TOKENS, 1, DK);
            Tensor v = tensors.random("v", DType.F32, Values.UNIFORM, TOKENS, 1, DV);
            Tensor rates = tensors.zeros("rates", DType.F32, 1);
            rates.set(0, rate);
            Tensor state = tensors.zeros("state", DType.F32, 1, 1, DK, DV);
            Tensor o = tensors.zeros("o", DType.F32, 1, 1, DV);
            LightningAttention robust = new LightningRecurrent();
            OriginalInference original = new OriginalInference((float) rate, DK, DV);
            for (int t = 0; t < TOKENS; t++) {
                Sequences one = Sequences.allocate(tensors.memory(), 1, 1);
                one.add(1, t, 0);
                robust.forward(q.slice(0, t, t + 1), k.slice(0, t, t + 1), v.slice(0, t, t + 1), rates, one, null,
                        state, o, state);
                copy(o.reshape(DV), outputs[0][t]);
                original.step(row(q, t), row(k, t), row(v, t), o.reshape(DV));
                copy(o.reshape(DV), outputs[1][t]);
            }
        }
        return outputs;
    }

    private static Tensor row(Tensor x, int t) {
        return x.select(0, t).select(0, 0);
    }

    private static void copy(Tensor from, double[] to) {
        for (int j = 0; j < to.length; j++) {
            to[j] = from.get(j);
        }
    }
}
