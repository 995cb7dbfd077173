package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.verify.GoldenEdit;
import org.transnormer.verify.GoldenWriter;

class VerifyCommandTest {
    @TempDir
    private static Path temp;
    private static Path good;

    @BeforeAll
    static void writeGood() {
        good = new GoldenWriter(Map.of(), false, 2, 9, 4, 1).write(temp.resolve("good.safetensors"));
    }

    @Test
    void agreementIsOk() {
        Outcome spec = Outcome.of("verify", good).succeeds();
        assertThat(spec.out()).contains("scalar", "f64", "against the file", "max error", "RMS ratio",
                "made: all 57 tensors agree");
        assertThat(spec.out().lines()).filteredOn(line -> line.startsWith("act.layers.0.attn_norm *")).hasSize(1);
        assertThat(spec.out().lines()).filteredOn(line -> line.startsWith("logits ")).hasSize(1);
        assertThat(spec.out()).contains("* computed by the composed parts");
        assertThat(Outcome.of("verify --backend vector --threads 1", good).succeeds().out()).contains("vector",
                "1 thread",
                "all 57 tensors agree");
        assertThat(Outcome.of("verify --backend vector --dtype bf16", good).succeeds().out())
                .contains("f32 with bf16 weights", "same bf16-rounded weights");
    }

    @Test
    void theComposedPartsAlone() {
        assertThat(Outcome.of("verify --dtype f32 --unfused", good).succeeds().out())
                .contains("composed parts only", "\nact.layers.0.attn_norm  ").doesNotContain("*");
    }

    @Test
    void aDifferenceIsAFailedCheckAndTheFirstTensorIsNamed() {
        try (GoldenEdit edit = new GoldenEdit(good)) {
            edit.set("logits", 5, 3).set("act.layers.1.attn", 24, -2);
            Outcome o = Outcome.of("verify", good, edit.save(temp.resolve("bad.safetensors")));
            assertThat(o.status()).isEqualTo(ExitCode.USAGE);
            assertThat(o.err()).contains("is another than that of");
            o = Outcome.of("verify", temp.resolve("bad.safetensors"));
            assertThat(o.status()).isEqualTo(ExitCode.CHECK_FAILED);
            assertThat(o.out()).contains("2 of 57 tensors differ, first act.layers.1.attn: DIFFERS at [0, 1, 0]: got ",
                    "want -2.0").containsPattern("(?m)^logits .* DIFFERS$");
        }
    }

    @Test
    void oneCaseThatDiffersFailsTheCheckOfAll() {
        try (GoldenEdit edit = new GoldenEdit(good)) {
            edit.set("loss", 0, 1).metadata("info", info -> info.replace("made", "other"));
            Path other = edit.save(temp.resolve("other.safetensors"));
            Outcome o = Outcome.of("verify", other, good);
            assertThat(o.status()).isEqualTo(ExitCode.CHECK_FAILED);
            assertThat(o.out()).contains("other: 1 of 57 tensors differ, first loss", "made: all 57 tensors agree");
        }
    }

    @Test
    void ofAMadeModelItIsToldWhatBegins() {
        Outcome o = Outcome.of("verify --backend vector --parity nano --tokens 2").succeeds();
        assertThat(o.err().lines()).element(0).asString()
                .matches("parity: \\d+ s: [0-9,]+ made parameters, and what the spec in f64 makes of them");
        assertThat(o.err()).contains(" s: the run that is verified");
        assertThat(o.out()).contains("made: all 56 tensors agree");
    }

    @Test
    void aMadeModelThatIsTooLargeIsRefusedBeforeItIsMade() {
        Outcome o = Outcome.of("verify --backend vector --parity 175B --tokens 4");
        assertThat(o.status()).isEqualTo(ExitCode.ENVIRONMENT);
        assertThat(o.err()).containsPattern("175B .* needs up to [0-9,]+ MiB of memory, the machine has [0-9,]+;")
                .doesNotContain("made parameters");
    }

    @Test
    void whatIsWrongWithTheCommandOrTheFileIsSaidInOneLine() {
        Outcome.of("verify --backend vector --dtype f64", good).fails(ExitCode.USAGE, "vector", "f32, bf16", "not f64");
        Outcome.of("verify --dtype f16", good).fails(ExitCode.USAGE, "f64, f32, bf16", "not f16");
        Outcome.of("verify --backend vector --threads 0", good).fails(ExitCode.USAGE, "thread");
        Outcome.of("verify", temp.resolve("none")).fails(ExitCode.USAGE, "none", "does not exist");
        assertThat(Outcome.of("verify --backend abacus", good).status()).isEqualTo(ExitCode.USAGE);
        assertThat(Outcome.of("verify").status()).isEqualTo(ExitCode.USAGE);
        try (GoldenEdit edit = new GoldenEdit(good)) {
            Outcome.of("verify", edit.drop("act.final_norm").save(temp.resolve("less.safetensors"))).fails(
                    ExitCode.USAGE,
                    "less.safetensors", "has no tensor act.final_norm");
        }
    }
}
