package org.transnormer.verify;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.transnormer.backend.BackendKind;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.verify.GoldenVerifier.Outcome;

/** Models of every kind pass on every backend, and whatever single number is wrong, its tensor is named. */
class GoldenVerifierTest {
    @TempDir
    private static Path temp;
    private static Path good;
    private static final Map<String, Path> KINDS = new LinkedHashMap<>();

    @BeforeAll
    static void writeFiles() {
        good = new GoldenWriter(Map.of(), false, 2, 9, 4, 1).write(temp.resolve("good.safetensors"));
        kind("layernorm, bias, gelu", false, 3, 19, 1, Map.of("norm_type", "layernorm", "bias", true, "linear_act_fun",
                "gelu"));
        Map<String, Object> wide = new HashMap<>(Map.of("glu_dim", -1, "hidden_dim", 30, "linear_use_lrpe_list",
                List.of(0, 0), "linear_act_fun", "relu"));
        wide.put("pad_token_id", null);
        kind("hidden width, no padding token, relu", false, 2, 33, 33, wide);
        kind("3 layers, tied, exp", true, 1, 40, 17, Map.of("decoder_layers", 3, "linear_use_lrpe_list",
                List.of(1, 0, 1), "linear_act_fun", "exp"));
        kind("one head, sine", true, 2, 21, 2, Map.of("decoder_attention_heads", 1, "linear_act_fun", "sine"));
        kind("one token", false, 4, 1, 1, Map.of("linear_act_fun", "none"));
    }

    private static void kind(String name, boolean tied, int sequences, int tokens, int prompt,
            Map<String, Object> changes) {
        KINDS.put(name, new GoldenWriter(changes, tied, sequences, tokens, prompt, 3)
                .write(temp.resolve(name + ".safetensors")));
    }

    static Stream<Arguments> runs() {
        return KINDS.keySet().stream().flatMap(name -> Stream.of(BackendKind.SCALAR, BackendKind.VECTOR)
                .flatMap(kind -> kind.dtypes().stream().map(dtype -> Arguments.of(name, kind, dtype))));
    }

    @ParameterizedTest
    @MethodSource("runs")
    void everyKindOfModelAgrees(String name, BackendKind kind, DType dtype) {
        Outcome outcome = verify(KINDS.get(name), kind, dtype);
        assertThat(outcome.first()).isEmpty();
        assertThat(outcome.rows()).hasSizeGreaterThan(50);
    }

    @Test
    void oneWrongNumberIsFoundInEveryTensor() {
        try (GoldenCase golden = GoldenCase.read(List.of(good)).getFirst();
                GoldenEdit edit = new GoldenEdit(good)) {
            for (String name : golden.names()) {
                Tensor t = edit.tensor(name);
                long worst = largest(t);
                double before = t.getFlat(worst);
                double scale = name.startsWith("grad.") || name.startsWith("act_grad.") || name.startsWith("infer.kv")
                        || name.startsWith("slope") ? Math.abs(before) : Math.max(1, Math.abs(before));
                edit.set(name, worst, before + 4e-6 * scale);
                Outcome outcome = verify(edit.save(temp.resolve("bad.safetensors")), BackendKind.SCALAR, DType.F64);
                edit.set(name, worst, before);
                assertThat(outcome.rows()).filteredOn(row -> !row.comparison().ok()).as(name)
                        .extracting(row -> row.comparison().name()).containsExactly(name);
                assertThat(outcome.first().orElseThrow().worst()).as(name).isEqualTo(worst);
            }
        }
    }

    @Test
    void aWrongWeightShowsWhereItIsFirstUsed() {
        Map<String, String> first = Map.of("model.embed_tokens.weight", "act.embed",
                "model.layers.0.token_mixer.qkvu_proj.weight", "act.layers.0.lrpe_q",
                "model.layers.0.token_mixer.lrpe.theta", "act.layers.0.lrpe_q",
                "model.layers.0.token_mixer.out_proj.weight", "act.layers.0.token_mixer",
                "model.layers.0.channel_mixer.l1.weight", "act.layers.0.channel_mixer",
                "model.layers.1.token_mixer.qkvu_proj.weight", "act.layers.1.attn",
                "model.layers.1.channel_mixer.l3.weight", "act.layers.1.channel_mixer", "lm_head.weight", "logits");
        first.forEach((weight, tensor) -> {
            try (GoldenEdit edit = new GoldenEdit(good)) {
                // the embedding of a token that occurs
                long element = weight.contains("embed") ? 24L * (long) edit.tensor("input_ids").getFlat(0) : 0;
                edit.set(weight, element, edit.tensor(weight).getFlat(element) + 1e-3);
                Path bad = edit.save(temp.resolve("bad.safetensors"));
                for (BackendKind kind : List.of(BackendKind.SCALAR, BackendKind.VECTOR)) {
                    Outcome outcome = verify(bad, kind, kind.dtypes().getFirst());
                    assertThat(outcome.ok()).isFalse();
                    assertThat(outcome.first().orElseThrow().name()).as(weight).isEqualTo(tensor);
                }
            }
        });
    }

    @Test
    void aNumberThatIsNoneNeverPasses() {
        try (GoldenEdit edit = new GoldenEdit(good)) {
            edit.set("act.layers.1.attn", 3, Double.NaN);
            Outcome outcome = verify(edit.save(temp.resolve("bad.safetensors")), BackendKind.VECTOR, DType.F32);
            assertThat(outcome.first().orElseThrow().name()).isEqualTo("act.layers.1.attn");
            assertThat(outcome.first().orElseThrow().position()).isEqualTo("[0, 0, 3]");
        }
    }

    @Test
    void bf16IsJudgedAgainstTheSpecOnTheSameWeights() {
        try (GoldenEdit edit = new GoldenEdit(good)) {
            Path other = edit.zeros("logits", 2, 9, 29).save(temp.resolve("zeros.safetensors"));
            for (BackendKind kind : List.of(BackendKind.SCALAR, BackendKind.VECTOR)) {
                Outcome outcome = verify(other, kind, DType.BF16);
                assertThat(outcome.ok()).isTrue();
                assertThat(outcome.reference()).contains("same bf16-rounded weights");
            }
            assertThat(verify(other, BackendKind.VECTOR, DType.F32).first().orElseThrow().name()).isEqualTo("logits");
        }
    }

    private static Outcome verify(Path file, BackendKind kind, DType dtype) {
        try (GoldenCase golden = GoldenCase.read(List.of(file)).getFirst()) {
            return GoldenVerifier.verify(golden, () -> kind.open(kind.precision(dtype), 2), false);
        }
    }

    private static long largest(Tensor t) {
        long at = 0;
        for (long i = 0; i < t.size(); i++) {
            at = Math.abs(t.getFlat(i)) > Math.abs(t.getFlat(at)) ? i : at;
        }
        return at;
    }
}
