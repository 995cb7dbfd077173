package org.transnormer.verify;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** The figures themselves, and that they bind from both sides. */
class GoldenToleranceTest {
    private final TestTensors tensors = new TestTensors(1);

    @AfterEach
    void close() {
        tensors.close();
    }

    @Test
    void absoluteBounds() {
        Tensor want = tensors.random("want", DType.F64, Values.UNIFORM, 100);
        want.set(0, -4);
        assertBound(GoldenTolerance.F64, "logits", want, 1e-6);
        assertBound(GoldenTolerance.F64, "infer.logits", want, 1e-6);
        assertBound(GoldenTolerance.F64, "act.layers.1.attn", want, 4e-6);
        assertBound(GoldenTolerance.F64, "loss", want, 4e-6);
        assertBound(GoldenTolerance.F64, "grad.lm_head.weight", want, 8e-6);
        assertBound(GoldenTolerance.F64, "infer.kv_final.1", want, 4e-6);
        assertBound(GoldenTolerance.F32, "logits", want, 5e-5);
        assertBound(GoldenTolerance.F32, "act.embed", want, 2e-4);
        assertBound(GoldenTolerance.F32, "act_grad.embed", want, 8e-5);
        assertBound(GoldenTolerance.F32, "infer.kv_prefill.0", want, 8e-5);
        want.set(0, 0);
        scale(want, 1e-3);
        assertBound(GoldenTolerance.F64, "act.embed", want, 1e-6);
        assertThat(bound(GoldenTolerance.F64, "grad.lm_head.weight", want)).isLessThan(2e-9);
    }

    @Test
    void ratesAreComparedElementByElement() {
        Tensor want = tensors.zeros("want", DType.F64, 2);
        want.set(0, 0.5);
        want.set(1, 1e-8);
        Tensor got = tensors.copy(want, DType.F64);
        got.set(1, 1.001e-8);
        for (GoldenTolerance tolerance : List.of(GoldenTolerance.F64, GoldenTolerance.F32)) {
            assertThat(tolerance.compare("slope_rate", got, want).position()).isEqualTo("[1]");
            assertThat(tolerance.compare("slope_rate", got, want).ok()).isFalse();
            assertThat(tolerance.compare("slopes.h2", got, want).ok()).isFalse();
            assertThat(tolerance.compare("slope_rate", want, want).ok()).isTrue();
        }
    }

    @Test
    void largeLogitsMayBeAsFarOffAsTheirStorage() {
        Tensor want = tensors.zeros("want", DType.F64, 1);
        want.set(0, 100);
        assertThat(bound(GoldenTolerance.F64, "logits", want)).isEqualTo(100 * 0x1p-24, within(1e-8));
        assertThat(bound(GoldenTolerance.F64, "token_losses", want)).isEqualTo(100 * 0x1p-24, within(1e-8));
        want.set(0, -3e4f - 1e-3);
        Tensor stored = tensors.copy(want, DType.F32);
        assertThat(GoldenTolerance.F64.compare("logits", want, stored).ok()).isTrue();
        stored.set(0, stored.get(0) + 2 * Math.ulp((float) stored.get(0)));
        assertThat(GoldenTolerance.F64.compare("logits", want, stored).ok()).isFalse();
    }

    @Test
    void everythingSlightlyOffIsAnErrorToo() {
        Tensor want = tensors.random("want", DType.F64, Values.NORMAL, 1000);
        for (GoldenTolerance tolerance : List.of(GoldenTolerance.F64, GoldenTolerance.F32)) {
            for (String name : List.of("logits", "grad.model.layers.0.token_mixer.out_proj.weight",
                    "infer.kv_final.1")) {
                Tensor got = tensors.copy(want, DType.F64);
                double smallest = Double.POSITIVE_INFINITY;
                for (long i = 0; i < want.size(); i++) {
                    smallest = Math.min(smallest, tolerance.allowed(name, want).applyAsDouble(i));
                }
                for (long i = 0; i < want.size(); i++) {
                    got.setFlat(i, want.getFlat(i) + 0.8 * smallest);
                }
                Comparison c = tolerance.compare(name, got, want);
                assertThat(c.error()).isLessThan(c.allowed());
                assertThat(c.ok()).as("%s %s", tolerance, name).isFalse();
            }
        }
    }

    @Test
    void ofFewElementsNoneIsJudgedByTheirRms() {
        Tensor want = tensors.zeros("want", DType.F64, 63);
        want.fill(1);
        Tensor got = tensors.copy(want, DType.F64);
        got.fill(1 + 4e-5);
        assertThat(GoldenTolerance.F32.compare("logits", got, want).ok()).isTrue();
        got.fill(1 + 6e-5);
        assertThat(GoldenTolerance.F32.compare("logits", got, want).ok()).isFalse();
    }

    @Test
    void exactlyMeansEveryBit() {
        Tensor want = tensors.random("want", DType.F64, Values.NORMAL, 100);
        Tensor got = tensors.copy(want, DType.F64);
        assertThat(new GoldenTolerance.Exact().compare("logits", got, want).ok()).isTrue();
        got.set(7, Math.nextUp(want.get(7)));
        Comparison c = new GoldenTolerance.Exact().compare("logits", got, want);
        assertThat(c.ok()).isFalse();
        assertThat(c.worst()).isEqualTo(7);
    }

    private static void assertBound(GoldenTolerance tolerance, String name, Tensor want, double bound) {
        assertThat(bound(tolerance, name, want)).as("%s %s", tolerance, name).isEqualTo(bound, within(1e-9 * bound));
    }

    private static double bound(GoldenTolerance tolerance, String name, Tensor want) {
        return tolerance.allowed(name, want).applyAsDouble(0);
    }

    private static void scale(Tensor t, double factor) {
        for (long i = 0; i < t.size(); i++) {
            t.setFlat(i, t.getFlat(i) * factor);
        }
    }
}
