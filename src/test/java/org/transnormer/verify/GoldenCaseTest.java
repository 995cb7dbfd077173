package org.transnormer.verify;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.transnormer.InputException;
import org.transnormer.model.ModelConfig;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.DType;

/** Golden files are read as they say, put together where they are split, and refused in one line where they lie. */
class GoldenCaseTest {
    private static final int TOKENS = 6;

    @TempDir
    private static Path temp;
    private static Path good;

    @BeforeAll
    static void writeGood() {
        good = new GoldenWriter(Map.of(), false, 2, TOKENS, 4, 1).write(temp.resolve("good.safetensors"));
    }

    @Test
    void readsConfigurationAndShape() {
        try (GoldenCase golden = GoldenCase.read(List.of(good)).getFirst()) {
            assertThat(golden.name()).isEqualTo("made");
            assertThat(golden.config().heads()).isEqualTo(3);
            assertThat(List.of(golden.sequences(), golden.tokens(), golden.prompt())).containsExactly(2, TOKENS, 4);
            assertThat(golden.notes()).isEmpty();
            assertThat(golden.names()).startsWith("slopes.h5", "actfn.1+elu").containsSubsequence("slope_rate",
                    "act.embed", "act.layers.0.token_norm", "act.layers.0.lrpe_q", "act.layers.0.attn",
                    "act.layers.0.out", "act.layers.1.attn", "act.final_norm", "logits", "token_losses", "loss",
                    "grad.lm_head.weight", "act_grad.layers.1.out", "grad.model.layers.1.channel_mixer.l3.weight",
                    "grad.model.layers.1.token_mixer.qkvu_proj.weight", "act_grad.layers.0.out",
                    "grad.model.layers.0.token_mixer.lrpe.theta", "act_grad.embed", "grad.model.embed_tokens.weight",
                    "infer.kv_prefill.0", "infer.logits", "infer.kv_final.1", "padded.logits", "padded.infer_logits")
                    .doesNotContain("actfn.input", "input_ids", "model.embed_tokens.weight",
                            "act.layers.1.lrpe_q");
        }
    }

    @Test
    void readsWhatTheReleasedCodeMeansByItsKeys() {
        Map<String, Object> keys = new HashMap<>(Map.of("glu_dim", -1, "hidden_dim", 30, "linear_use_lrpe_list",
                List.of(0, 0), "norm_type", "anything", "bias", true, "linear_act_fun", "unheard of"));
        keys.put("pad_token_id", null);
        Path file = new GoldenWriter(keys, true, 1, 2, 2, 1).write(temp.resolve("keys.safetensors"));
        try (GoldenCase golden = GoldenCase.read(List.of(file)).getFirst()) {
            ModelConfig config = golden.config();
            assertThat(List.of(config.gluWidth(), config.hidden(), config.width(), config.padding())).containsExactly(
                    24,
                    30, 24, -1);
            assertThat(config.norm()).isEqualTo(NormType.LAYERNORM);
            assertThat(config.tiedHead()).isTrue();
            assertThat(golden.names()).contains("grad.model.layers.0.token_mixer.norm.weight",
                    "grad.model.final_norm.bias", "grad.model.layers.1.channel_mixer.l2.bias")
                    .doesNotContain("grad.lm_head.weight");
        }
    }

    @Test
    void negativePaddingTokensCountFromTheEnd() {
        Path file = new GoldenWriter(Map.of("pad_token_id", -1), false, 1, 2, 2, 1).write(temp.resolve(
                "padding.safetensors"));
        try (GoldenCase golden = GoldenCase.read(List.of(file)).getFirst()) {
            assertThat(golden.config().padding()).isEqualTo(28);
        }
        assertBad("pad_token_id -30 is not a token of 29", edit -> edit.metadata("config", c -> c.replace(
                "\"vocab_size\"", "\"pad_token_id\":-30,\"vocab_size\"")));
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void putsTheFilesOfACaseTogetherInAnyOrder(boolean reversed) {
        Path one;
        Path two;
        try (GoldenEdit edit = new GoldenEdit(good)) {
            one = edit.keep(n -> !n.startsWith("grad.")).zeros("native_f32.logits", 2, TOKENS, 29)
                    .save(temp.resolve("one.safetensors"));
        }
        try (GoldenEdit edit = new GoldenEdit(good)) {
            two = edit.keep(n -> n.startsWith("grad.") || n.equals("labels")).metadata("config", _ -> null)
                    .metadata("info", _ -> "{\"case\": \"made\"}").save(temp.resolve("two.safetensors"));
        }
        Path other = new GoldenWriter(Map.of(), true, 1, 2, 1, 2).write(temp.resolve("other.safetensors"));
        try (GoldenEdit edit = new GoldenEdit(other)) {
            edit.metadata("info", info -> info.replace("made", "other")).save(other);
        }
        List<GoldenCase> cases = GoldenCase.read(reversed ? List.of(two, other, one) : List.of(one, other, two));
        try (GoldenCase whole = GoldenCase.read(List.of(good)).getFirst()) {
            assertThat(cases).extracting(GoldenCase::name).containsExactly("made", "other");
            assertThat(cases.getFirst().names()).isEqualTo(whole.names());
            assertThat(cases.getFirst().notes()).isEmpty();
            assertThat(cases.getFirst().yardstick("logits")).isNotNull();
            assertThat(cases.getFirst().yardstick("loss")).isNull();
        } finally {
            cases.forEach(GoldenCase::close);
        }
        assertBad("no tensor model.embed_tokens.weight", edit -> edit.keep(n -> n.startsWith("grad.")));
    }

    /** A writer that stores shared tensors once keeps whichever name it likes. */
    @ParameterizedTest
    @CsvSource({"true, true", "true, false", "false, true", "false, false"})
    void tiedHeadsStandUnderEitherNameOrBoth(boolean said, boolean both) {
        Path file = new GoldenWriter(Map.of(), true, 1, 3, 2, 1).write(temp.resolve("tied.safetensors"));
        String embedding = "model.embed_tokens.weight";
        String head = "lm_head.weight";
        try (GoldenCase own = GoldenCase.read(List.of(file)).getFirst(); GoldenEdit edit = new GoldenEdit(file)) {
            edit.rename("grad." + embedding, "grad." + head, both);
            if (!both) {
                edit.drop(embedding);
            }
            if (!said) {
                edit.metadata("info", info -> info.replaceFirst(",?\"tied\":true", "").replace("{,", "{"));
            }
            Path other = edit.save(temp.resolve("either.safetensors"));
            try (GoldenCase golden = GoldenCase.read(List.of(other)).getFirst()) {
                assertThat(golden.config().tiedHead()).isTrue();
                assertThat(golden.names()).isEqualTo(own.names());
                assertThat(golden.notes()).isEmpty();
                for (String name : List.of(embedding, "grad." + embedding)) {
                    assertThat(golden.value(name).segment().mismatch(own.value(name).segment())).isEqualTo(-1);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F64", "F32", "BF16", "F16", "I32"})
    void masksAreOfAnyTypeOfNumbers(DType dtype) {
        try (GoldenCase own = GoldenCase.read(List.of(good)).getFirst(); GoldenEdit edit = new GoldenEdit(good)) {
            Path file = edit.as("padded.attention_mask", dtype).save(temp.resolve("mask.safetensors"));
            try (GoldenCase golden = GoldenCase.read(List.of(file)).getFirst()) {
                assertThat(golden.mask()).isDeepEqualTo(own.mask());
            }
        }
    }

    /** BOOL and U8: a byte each, in a file of its own. */
    @ParameterizedTest
    @ValueSource(strings = {"BOOL", "U8", "I8"})
    void masksMayBeBytes(String type) throws IOException {
        Path file = temp.resolve("rest.safetensors");
        try (GoldenEdit edit = new GoldenEdit(good)) {
            edit.drop("padded.attention_mask").save(file);
        }
        byte[] header = """
                {"__metadata__": {"info": "{\\"case\\": \\"made\\"}"}, "padded.attention_mask": {"dtype": "%s", \
                "shape": [2, 6], "data_offsets": [0, 12]}}""".formatted(type).getBytes(StandardCharsets.UTF_8);
        byte[] bits = {1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1};
        Path mask = Files.write(temp.resolve("mask-" + type + ".safetensors"), ByteBuffer.allocate(8 + header.length
                + bits.length).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).put(header).put(bits).array());
        try (GoldenCase golden = GoldenCase.read(List.of(file, mask)).getFirst()) {
            assertThat(golden.mask()).isDeepEqualTo(new int[][] {{1, 0, 1, 1, 0, 1}, {1, 0, 1, 1, 0, 1}});
        }
    }

    @Test
    void saysWhatIsNotThere() {
        try (GoldenEdit edit = new GoldenEdit(good)) {
            Path part = edit.keep(n -> !n.startsWith("grad.") && !n.startsWith("act_grad.") && !n.startsWith("padded."))
                    .zeros("hidden_states.3", 2).save(temp.resolve("part.safetensors"));
            try (GoldenCase golden = GoldenCase.read(List.of(part)).getFirst()) {
                assertThat(golden.notes()).containsExactly(
                        "not in these files, so not compared: gradients of the parameters",
                        "not in these files, so not compared: gradients of the residual stream",
                        "not in these files, so not compared: padded run", "unknown, so not compared: hidden_states.3");
            }
        }
    }

    @Test
    void refusesFilesOfOneCaseThatContradictEachOther() {
        assertBad(List.of("is of case made, but its loss is another than that of"), edit -> edit.set("loss", 0, 1),
                good);
        assertBad(List.of("but its labels is another"), edit -> edit.zeros("labels", 2, TOKENS), good);
        assertBad(List.of("but its config is another"), edit -> edit.metadata("config", c -> c.replace("20", "21")),
                good);
        assertBad(List.of("its info has P 3 where"),
                edit -> edit.metadata("info", c -> c.replace("\"P\":4", "\"P\":3")),
                good);
    }

    static Stream<Arguments> lies() {
        return Stream.of(
                lie("no metadata \"info\"", e -> e.metadata("info", _ -> null)),
                lie("with a \"case\"", e -> e.metadata("info", _ -> "{\"case\": 3}")),
                lie("not valid JSON", e -> e.metadata("info", i -> i + "}")),
                lie("no metadata \"config\"", e -> e.metadata("config", _ -> null)),
                lie("expected an object", e -> e.metadata("config", _ -> "[]")),
                lie("not a multiple", e -> e.metadata("config", c -> c.replace("heads\":3", "heads\":5"))),
                lie("decoder_layers", e -> e.metadata("config", c -> c.replace("layers\":2", "layers\":\"2\""))),
                lie("an entry for each of the 3 layers", e -> e.metadata("config", c -> c.replace("layers\":2",
                        "layers\":3"))),
                lie("its slope_rate has shape [2, 3]", e -> e.metadata("config", c -> c.replace("layers\":2",
                        "layers\":1"))),
                lie("a tensor model.layers.1.token_mixer.lrpe.theta, which", e -> e.zeros(
                        "model.layers.1.token_mixer.lrpe.theta", 3, 1, 8)),
                lie("its model.embed_tokens.weight has shape [29, 24], but config and input_ids call for [2147483647, 24]",
                        e -> e.metadata("config", c -> c.replace("vocab_size\":29", "vocab_size\":2147483647"))),
                lie("l1.weight has shape [20, 24]", e -> e.metadata("config", c -> c.replace("glu_dim\":20",
                        "glu_dim\":2147483647"))),
                lie("no tensor model.layers.0.token_norm.weight", e -> e.metadata("config", c -> c.replace(
                        "simplermsnorm", "layernorm"))),
                lie("no tensor model.layers.0.token_mixer.qkvu_proj.weight", e -> e.drop(
                        "model.layers.0.token_mixer.qkvu_proj.weight")),
                lie("no tensor lm_head.weight", e -> e.drop("lm_head.weight")),
                lie("its head is tied, but", e -> e.keep(n -> !n.equals("grad.lm_head.weight")).metadata("info",
                        i -> i.replace("false", "true"))),
                lie("its head is tied, but grad.lm_head.weight is not", e -> e.drop("lm_head.weight").metadata("info",
                        i -> i.replace("false", "true"))),
                lie("no tensor model.embed_tokens.weight", e -> e.drop("model.embed_tokens.weight")),

                lie("tied 7", e -> e.metadata("info", i -> i.replace("false", "7"))),
                lie("no tensor labels", e -> e.drop("labels")),
                lie("no tensor input_ids", e -> e.drop("input_ids")),
                lie("no tensor act.layers.1.attn_norm", e -> e.drop("act.layers.1.attn_norm")),
                lie("no tensor logits", e -> e.drop("logits")),
                lie("no tensor act.embed", e -> e.keep(n -> !n.startsWith("act."))),
                lie("no tensor infer.kv_prefill.0", e -> e.keep(n -> !n.startsWith("infer."))),
                lie("no tensor slope_rate", e -> e.drop("slope_rate")),
                lie("no tensor token_losses", e -> e.drop("token_losses")),
                lie("no tensor loss", e -> e.drop("loss")),
                lie("no tensor infer.kv_final.1", e -> e.drop("infer.kv_final.1")),
                lie("no tensor grad.model.layers.0.token_mixer.lrpe.theta", e -> e.drop(
                        "grad.model.layers.0.token_mixer.lrpe.theta")),
                lie("no tensor padded.infer_logits", e -> e.drop("padded.infer_logits")),
                lie("no tensor padded.attention_mask", e -> e.drop("padded.attention_mask")),
                lie("no tensor actfn.input", e -> e.drop("actfn.input")),
                lie("its logits has shape [2, 6, 28]", e -> e.zeros("logits", 2, TOKENS, 28)),
                lie("its loss has shape [1]", e -> e.zeros("loss", 1)),
                lie("its labels has shape", e -> e.zeros("labels", 2, 5)),
                lie("its input_ids has shape", e -> e.zeros("input_ids", 12)),
                lie("\"labels\" is F32", e -> e.zeros("labels", 2, TOKENS)),
                lie("its slopes.h4 has shape [5]", e -> e.zeros("slopes.h4", 5)),
                lie("slopes.hx", e -> e.zeros("slopes.hx", 5)),
                lie("its actfn.relu has shape [3]", e -> e.zeros("actfn.relu", 3)),
                lie("a tensor act.layers.7.out, which", e -> e.zeros("act.layers.7.out", 3)),
                lie("a tensor grad.nonsense, which", e -> e.zeros("grad.nonsense", 3)),
                lie("its input_ids[1, 2] is 29", e -> e.set("input_ids", TOKENS + 2, 29)),
                lie("its labels[0, 0] is -1,", e -> e.set("labels", 0, -1)),
                lie("attention_mask[0, 3] is 0.5; a mask", e -> e.zeros("padded.attention_mask", 2, TOKENS).set(
                        "padded.attention_mask", 3, 0.5)),
                lie("its padded.attention_mask has shape [2, 5]", e -> e.zeros("padded.attention_mask", 2, 5)),
                lie("attention_mask[0, 3] is 2; a mask", e -> e.set("padded.attention_mask", 3, 2)),
                lie("P 0; 1 to 6", e -> e.metadata("info", i -> i.replace("\"P\":4", "\"P\":0"))),
                lie("P 7; 1 to 6", e -> e.metadata("info", i -> i.replace("\"P\":4", "\"P\":7"))),
                lie("P null; 1 to 6", e -> e.metadata("info", i -> i.replace("\"P\":4", "\"Q\":4"))),
                lie("info has N 5", e -> e.metadata("info", i -> i.replace("\"N\":6", "\"N\":5"))));
    }

    /** Only a file of half a gigabyte gets that far: it has a hole for an embedding. */
    @Test
    void refusesAModelOfMoreBytesThanThereAreNumbers() throws IOException {
        Path file = temp.resolve("absurd.safetensors");
        long width = 1L << 28;
        String header =
                """
                        {"__metadata__": {"info": "{\\"case\\": \\"absurd\\", \\"P\\": 1}", "config": "{\\"vocab_size\\": 1, \
                        \\"decoder_embed_dim\\": %d, \\"decoder_layers\\": 1, \\"decoder_attention_heads\\": 1, \\"hidden_dim\\": \
                        2147483647, \\"linear_use_lrpe_list\\": [0]}"}, "input_ids": {"dtype": "I64", "shape": [1, 1], \
                        "data_offsets": [0, 8]}, "labels": {"dtype": "I64", "shape": [1, 1], "data_offsets": [8, 16]}, \
                        "model.embed_tokens.weight": {"dtype": "BF16", "shape": [1, %d], "data_offsets": [16, %d]}}"""
                        .formatted(width, width, 16 + 2 * width);
        byte[] text = header.getBytes(StandardCharsets.UTF_8);
        try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
            out.writeLong(Long.reverseBytes(text.length));
            out.write(text);
            out.setLength(8 + text.length + 16 + 2 * width);
        }
        assertThatThrownBy(() -> GoldenCase.read(List.of(file))).isInstanceOf(InputException.class)
                .hasMessageContaining("larger than any memory").message().doesNotContain("\n");
    }

    @ParameterizedTest
    @MethodSource("lies")
    void refusesInOneLine(String message, Consumer<GoldenEdit> edit) {
        assertBad(message, edit);
    }

    private static Arguments lie(String message, Consumer<GoldenEdit> edit) {
        return Arguments.of(message, edit);
    }

    private static void assertBad(String message, Consumer<GoldenEdit> change) {
        assertBad(List.of(message), change);
    }

    private static void assertBad(List<String> messages, Consumer<GoldenEdit> change, Path... before) {
        Path bad = temp.resolve("bad.safetensors");
        try (GoldenEdit edit = new GoldenEdit(good)) {
            change.accept(edit);
            edit.save(bad);
        }
        List<Path> files = Stream.concat(Stream.of(before), Stream.of(bad)).toList();
        assertThatThrownBy(() -> GoldenCase.read(files)).isInstanceOf(InputException.class)
                .hasMessageStartingWith(bad.toString()).message().contains(messages).doesNotContain("\n");
    }
}
