package org.transnormer.verify;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.transnormer.backend.Precision;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** The figures themselves, and that they bind from both sides. */
class GoldenToleranceTest {
    private static final double U = 0x1p-8;
    private static final ModelConfig TWO_LAYERS = config("silu");

    private final TestTensors tensors = new TestTensors(1);

    @AfterEach
    void close() {
        tensors.close();
    }

    @Test
    void absoluteBounds() {
        Tensor want = tensors.random("want", DType.F64, Values.UNIFORM, 100);
        want.set(0, -4);
        assertBound(Precision.F64, "logits", want, 1e-6);
        assertBound(Precision.F64, "infer.logits", want, 1e-6);
        assertBound(Precision.F64, "act.layers.1.attn", want, 4e-6);
        assertBound(Precision.F64, "loss", want, 4e-6);
        assertBound(Precision.F64, "grad.lm_head.weight", want, 8e-6);
        assertBound(Precision.F64, "infer.kv_final.1", want, 4e-6);
        for (Precision precision : List.of(Precision.F32, Precision.BF16_WEIGHTS)) {
            assertBound(precision, "logits", want, 5e-5);
            assertBound(precision, "act.embed", want, 2e-4);
            assertBound(precision, "act_grad.embed", want, 8e-5);
            assertBound(precision, "infer.kv_prefill.0", want, 8e-5);
        }
        want.set(0, 0);
        scale(want, 1e-3);
        assertBound(Precision.F64, "act.embed", want, 1e-6);
        assertThat(bound(Precision.F64, "grad.lm_head.weight", want)).isLessThan(2e-9);
    }

    @Test
    void ratesAreComparedElementByElement() {
        Tensor want = tensors.zeros("want", DType.F64, 2);
        want.set(0, 0.5);
        want.set(1, 1e-8);
        Tensor got = tensors.copy(want, DType.F64);
        got.set(1, 1.001e-8);
        for (Precision precision : List.of(Precision.F64, Precision.F32, Precision.BF16)) {
            GoldenTolerance tolerance = GoldenTolerance.of(precision, TWO_LAYERS);
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
        assertThat(bound(Precision.F64, "logits", want)).isEqualTo(100 * 0x1p-24, within(1e-8));
    }

    @Test
    void everythingSlightlyOffIsAnErrorToo() {
        Tensor want = tensors.random("want", DType.F64, Values.NORMAL, 1000);
        for (Precision precision : List.of(Precision.F64, Precision.F32, Precision.BF16)) {
            for (String name : List.of("logits", "grad.model.layers.0.token_mixer.out_proj.weight",
                    "infer.kv_final.1")) {
                GoldenTolerance tolerance = GoldenTolerance.of(precision, TWO_LAYERS);
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
                assertThat(c.ok()).as("%s %s", precision, name).isFalse();
            }
        }
    }

    @Test
    void roundedTensorsAreBoundedByTheRoundingsBehindThem() {
        Tensor want = tensors.zeros("want", DType.F64, 4);
        want.fill(2);
        // 11 tensors are written in each of the two layers
        assertBound(Precision.BF16, "act.embed", want, 4 * 2 * U * 2);
        assertBound(Precision.BF16, "act.layers.0.attn", want, 4 * 13 * U * 2);
        assertBound(Precision.BF16, "logits", want, 4 * 24 * U * 2);
        assertBound(Precision.BF16, "infer.kv_final.0", want, 4 * 13 * U * 2);
        assertBound(Precision.BF16, "grad.lm_head.weight", want, 4 * 26 * U * 2);
        assertBound(Precision.BF16, "grad.model.layers.1.channel_mixer.l1.weight", want, 4 * 37 * U * 2);
        assertBound(Precision.BF16, "act_grad.layers.0.out", want, 4 * 48 * U * 2);
        assertBound(Precision.BF16, "grad.model.embed_tokens.weight", want, 4 * 48 * U * 2);
        Tensor got = tensors.copy(want, DType.F64);
        got.fill(2 * (1 + 13 * U));
        assertThat(GoldenTolerance.of(Precision.BF16, TWO_LAYERS).compare("logits", got, want).rmsAllowed())
                .isEqualTo(1.0 / 8, within(1e-12));
        assertThat(GoldenTolerance.of(Precision.BF16, TWO_LAYERS).compare("logits", got, want).ok()).isFalse();
    }

    @Test
    void aJumpOfTheDerivativeMakesSingleGradientsUncertain() {
        Tensor want = tensors.zeros("want", DType.F64, 4);
        want.fill(1);
        GoldenTolerance kinked = GoldenTolerance.of(Precision.BF16, config("relu"));
        assertThat(kinked.allowed("grad.lm_head.weight", want).applyAsDouble(0)).isEqualTo(8 * 26 * U, within(1e-12));
        assertThat(kinked.allowed("logits", want).applyAsDouble(0)).isEqualTo(4 * 24 * U, within(1e-12));
    }

    private static ModelConfig config(String activation) {
        return ReleasedConfig.parse(Map.of("vocab_size", 8, "decoder_embed_dim", 8, "decoder_layers", 2,
                "hidden_dim", 8, "linear_use_lrpe_list", List.of(1, 0), "linear_act_fun", activation), true);
    }

    private static void assertBound(Precision precision, String name, Tensor want, double bound) {
        assertThat(bound(precision, name, want)).as("%s %s", precision, name).isEqualTo(bound, within(1e-9 * bound));
    }

    private static double bound(Precision precision, String name, Tensor want) {
        return GoldenTolerance.of(precision, TWO_LAYERS).allowed(name, want).applyAsDouble(0);
    }

    private static void scale(Tensor t, double factor) {
        for (long i = 0; i < t.size(); i++) {
            t.setFlat(i, t.getFlat(i) * factor);
        }
    }
}
