package org.transnormer.verify;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.transnormer.InputException;
import org.transnormer.backend.ObservedBackend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.tensor.Bf16;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.verify.GoldenVerifier.Outcome;

/** The errors of plain PyTorch in bf16 are a bound that can be kept, and that a model of which too much is bf16 breaks. */
class PlainBf16Test {
    private static final ObservedBackend.Observer NOTHING = (component, method, arguments, elapsed) -> {
    };

    @TempDir
    private Path temp;
    private Path golden;
    private String json;

    @BeforeEach
    void write() {
        golden = new GoldenWriter(Map.of(), false, 1, 3, 2, 1).write(temp.resolve("case.safetensors"));
        try (GoldenCase made = read()) {
            assertThat(made.plainBf16()).isNull();
            json = made.names().stream().map("    \"%s\": {\"rms\": 0.01, \"worst_rms\": 0.011, \"max\": 1}"::formatted)
                    .collect(Collectors.joining(",\n", """
                            {
                              "made": {"torch": "2.0.1", "sha256": "%s"},
                              "errors": {
                            """.formatted(PlainBf16.digest(golden)), "\n  }\n}\n"));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"official/A_tiny", "official/B_heads6", "official/D_noscale_elu", "model/exp-four-layers",
        "model/layernorm-seven-heads", "model/one-head-odd", "model/rmsnorm-glu-silu", "model/wide-attention-relu"})
    void theSpecInBf16IsAsNearTheGoldenFileAsPyTorchIs(String name) {
        Outcome outcome = run(name, NOTHING, parameter -> false);
        assertThat(outcome.first()).isEmpty();
        assertThat(outcome.reference()).matches("the file, beside the errors of plain PyTorch 2\\.\\S+ in bf16");
        assertThat(outcome.notes()).anyMatch(note -> note.startsWith("RMS errors over those of plain PyTorch 2"));
    }

    @Test
    void anglesInBf16Show() {
        Outcome outcome = run("official/A_tiny", NOTHING, parameter -> parameter.endsWith("theta"));
        assertThat(outcome.first().orElseThrow().name()).isEqualTo("act.layers.0.lrpe_q");
        assertThat(different(outcome)).contains("act.layers.0.lrpe_k", "infer.kv_final.0");
    }

    @Test
    void statesInBf16Show() {
        Outcome outcome = run("official/A_tiny", (component, method, arguments, elapsed) -> {
            if (component.equals("LightningAttention") && method.equals("forward") && arguments[8] != null) {
                round((Tensor) arguments[8]);
            }
        }, parameter -> false);
        assertThat(different(outcome)).contains("infer.kv_final.0");
    }

    private static List<String> different(Outcome outcome) {
        return outcome.rows().stream().map(GoldenVerifier.Row::comparison).filter(c -> !c.ok()).map(Comparison::name)
                .toList();
    }

    /** @param narrow parameters to be rounded before they are given */
    private static Outcome run(String name, ObservedBackend.Observer observer, Predicate<String> narrow) {
        Path file = Path.of("golden-tests", name + ".safetensors");
        try (GoldenCase official = GoldenCase.read(List.of(file)).getFirst();
                GoldenRun run = new GoldenRun(new ObservedBackend(new ScalarBackend(Precision.BF16, new HostMemory()),
                        observer), official, parameter -> {
                            Tensor value = official.value(parameter);
                            return narrow.test(parameter) ? round(value) : value;
                        }, false).run()) {
            return GoldenVerifier.besidePyTorch(official, run);
        }
    }

    private static Tensor round(Tensor t) {
        for (long i = 0; i < t.size(); i++) {
            t.setFlat(i, Bf16.toFloat(Bf16.fromDouble(t.getFlat(i))));
        }
        return t;
    }

    /** Twelve tenths of PyTorch's RMS, or its worst run's; of one element twelve tenths of its largest. */
    @ParameterizedTest
    @CsvSource({"0.01, 0.0119, 0, true", "0.01, 0.0121, 0, false", "0.013, 0.0129, 0, true", "0.013, 0.0131, 0, false",
        "0.01, 0, 1.19, true", "0.01, 0, 1.21, false"})
    void theBoundIsPyTorchsError(double worst, double all, double one, boolean passes) {
        put(text -> text.replace("\"worst_rms\": 0.011", "\"worst_rms\": " + worst));
        try (GoldenCase made = read(); HostMemory memory = new HostMemory()) {
            Tensor want = memory.allocate(MemoryKind.DATA, "want", DType.F64, 100_000);
            Tensor got = memory.allocate(MemoryKind.DATA, "got", DType.F64, 100_000);
            got.fill(all);
            got.set(7, one == 0 ? all : one);
            GoldenTolerance tolerance = new GoldenTolerance.BesidePyTorch(made.plainBf16());
            assertThat(tolerance.compare("logits", got, want).ok()).isEqualTo(passes);
            got.fill(1e-3);
            want.fill(1);
            assertThat(tolerance.compare("slopes.h5", got, want).ok()).as("rates are not rounded").isFalse();
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "`}\n` | `` | not valid JSON",
        "\"made\" | \"by\" | has no object \"made\"",
        "\"sha256\": \" | \"sha256\": \"0 | is not of",
        "2.0.1 | 2.0 (mine) | names no version of PyTorch",
        "\"errors\": { | \"errors\": 3, \"other\": { | has no object \"errors\"",
        "\"logits\" | \"logit\" | has no object \"logits\"",
        "\"errors\": { | \"errors\": {\"logit\": 1, | has errors of 1 tensors that are no outputs",
        "0.01, | -0.01, | no number of 0 or more as \"rms\"",
        "0.01, | \"0.01\", | no number of 0 or more as \"rms\"",
        "\"max\": 1} | \"max\": 1e999} | is too large",
        "0.011 | 0.009 | but no error above"})
    void whatLiesIsRefusedInOneLine(String part, String lie, String message) {
        Path file = put(text -> {
            int at = text.lastIndexOf(part);
            return text.substring(0, at) + lie + text.substring(at + part.length());
        });
        assertThatThrownBy(this::read).isInstanceOf(InputException.class).hasMessageStartingWith(file + ": ")
                .hasMessageContaining(message).hasMessageNotContaining("\n");
    }

    @Test
    void oneFileTellsTheErrorsOfACase() throws IOException {
        put(UnaryOperator.identity());
        Path other = Files.copy(golden, temp.resolve("other.safetensors"));
        try (GoldenCase both = GoldenCase.read(List.of(other, golden)).getFirst()) {
            assertThat(both.plainBf16().errors("logits").rms()).isEqualTo(0.01);
        }
        Files.copy(temp.resolve("case.bf16.json"), temp.resolve("other.bf16.json"));
        assertThatThrownBy(() -> GoldenCase.read(List.of(other, golden))).isInstanceOf(InputException.class)
                .hasMessageContaining("is of the same case as");
    }

    private Path put(UnaryOperator<String> change) {
        try {
            return Files.writeString(temp.resolve("case.bf16.json"), change.apply(json));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private GoldenCase read() {
        return GoldenCase.read(List.of(golden)).getFirst();
    }
}
