package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.transnormer.InputException;

class HfConfigTest {
    @TempDir
    Path folder;

    private HfConfig read(String json) throws IOException {
        return HfConfig.read(Files.writeString(folder.resolve("config.json"), json));
    }

    @Test
    void valuesAreTyped() throws IOException {
        HfConfig config = read("""
                {"vocab_size": 64000, "init_std": 2e-2, "bias": false, "norm_type": "simplermsnorm",
                 "linear_use_lrpe_list": [1, 0, true], "pad_token_id": null, "auto_map": {"a": ["b", null]}}
                """);
        assertThat(config.integer("vocab_size")).isEqualTo(64000);
        assertThat(config.number("init_std")).isEqualTo(0.02);
        assertThat(config.number("vocab_size")).isEqualTo(64000);
        assertThat(config.flag("bias")).isFalse();
        assertThat(config.text("norm_type")).isEqualTo("simplermsnorm");
        assertThat(config.integers("linear_use_lrpe_list").toArray()).containsExactly(1, 0, 1);
        assertThat(config.has("pad_token_id")).isFalse();
        assertThat(config.integer("pad_token_id", 7)).isEqualTo(7);
        assertThat(config.flag("none", true)).isTrue();
        assertThat(config.text("none", "x")).isEqualTo("x");
        assertThat(config.number("none", 0.5)).isEqualTo(0.5);
        assertThat(config.values().get("auto_map")).isEqualTo(Map.of("a", Arrays.asList("b", null)));
    }

    @Test
    void wrongValuesNameFileAndKey() throws IOException {
        HfConfig config = read("{\"a\": \"12\", \"b\": 3000000000, \"c\": [1, \"x\"], \"d\": 1.5, \"e\": null}");
        for (Runnable wrong : List.<Runnable>of(() -> config.integer("a"), () -> config.integer("b"),
                () -> config.integers("c"), () -> config.integer("d"), () -> config.integer("e"),
                () -> config.integer("f"), () -> config.flag("a"), () -> config.text("b"), () -> config.number("a"))) {
            assertThatExceptionOfType(InputException.class).isThrownBy(wrong::run)
                    .withMessageStartingWith(config.file() + ": ").withMessageContaining(" is needed; ");
        }
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> config.integer("a"))
                .withMessageContaining("\"a\" is \"12\", a whole number of 32 bits is needed");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "[]", "{", "{}{}", "{\"a\":NaN}", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":1}}",
        "{\"a\":1e999}", "{\"a\":9223372036854775808}", "{\"a\":01}", "{'a':1}", "{\"a\":1,}", "{\"a\":1} //x"})
    void whatIsNoObjectIsRefused(String json) throws IOException {
        Path file = Files.writeString(folder.resolve("config.json"), json);
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> HfConfig.read(file))
                .withMessageStartingWith(file + ": is not valid JSON");
    }

    @Test
    void depthAndSizeAreBounded() throws IOException {
        Path deep = Files.writeString(folder.resolve("deep.json"), "{\"a\":" + "[".repeat(1_000_000));
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> HfConfig.read(deep))
                .withMessageContaining("depth");
        Path large = Files.writeString(folder.resolve("large.json"), " ".repeat((16 << 20) + 1));
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> HfConfig.read(large))
                .withMessageContaining("at most 16,777,216");
    }

    @Test
    void writtenAndReadBackItIsTheSame() {
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("z", 1.0 / 3);
        values.put("a", Long.MIN_VALUE);
        values.put("text", "a\"\\\n\u0007é😀");
        values.put("none", null);
        values.put("list", Arrays.asList(1L, null, true, Map.of("k", List.of())));
        Path file = folder.resolve("config.json");
        HfConfig.of(values).write(file);
        HfConfig back = HfConfig.read(file);
        assertThat(back.values()).isEqualTo(values);
        assertThat(back.values().keySet()).containsExactly("z", "a", "text", "none", "list");
        assertThat(file).content().doesNotContain("\r").endsWith("}\n");
    }

    @Test
    void digestDependsOnValuesOnly() {
        HfConfig config = HfConfig.of(Map.of("a", 1, "b", List.of(Map.of("x", 1, "y", 2))));
        assertThat(config.digest()).hasSize(64)
                .isEqualTo(HfConfig.of(Map.of("b", List.of(Map.of("y", 2L, "x", 1L)), "a", 1L)).digest())
                .isNotEqualTo(config.with("a", 2).digest()).isNotEqualTo(config.with("c", null).digest());
    }
}
