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
    void valuesAreWhatTheFileSays() throws IOException {
        HfConfig config = read("""
                {"vocab_size": 64000, "init_std": 2e-2, "bias": false, "norm_type": "simplermsnorm",
                 "linear_use_lrpe_list": [1, 0, true], "pad_token_id": null, "auto_map": {"a": ["b", null]}}
                """);
        assertThat(config.values()).containsEntry("vocab_size", 64000L).containsEntry("init_std", 0.02)
                .containsEntry("norm_type", "simplermsnorm")
                .containsEntry("linear_use_lrpe_list", List.of(1L, 0L, true))
                .containsEntry("pad_token_id", null).containsEntry("auto_map", Map.of("a", Arrays.asList("b", null)));
        assertThat(config.flag("bias", true)).isFalse();
        assertThat(config.flag("none", true)).isTrue();
        assertThat(config.flag("pad_token_id", true)).isTrue();
        assertThat(config.has("bias")).isTrue();
        assertThat(config.has("pad_token_id")).isFalse();
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> config.flag("vocab_size", true))
                .withMessageStartingWith(config.file() + ": \"vocab_size\" is \"64000\", true or false is needed; ");
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
    void digestDependsOnValuesOnly() throws IOException {
        String one = read("{\"a\": 1, \"b\": [{\"x\": 1, \"y\": 2}]}").digest();
        HfConfig two = read("{ \"b\": [{\"y\": 2, \"x\": 1}], \"a\": 1}");
        assertThat(two.digest()).hasSize(64).isEqualTo(one).isNotEqualTo(two.with("a", 2).digest())
                .isNotEqualTo(two.with("c", null).digest());
        assertThat(two.with("a", 1).digest()).as("Integer and Long").isEqualTo(one);
    }
}
