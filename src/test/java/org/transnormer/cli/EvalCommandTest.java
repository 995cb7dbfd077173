package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalCommandTest {
    private static final String LOSS = "loss";
    @TempDir
    private static Path temp;
    private static Path model;
    private static Path text;

    @BeforeAll
    static void writeModel() throws IOException {
        model = TinyModel.write(temp.resolve("model"));
        text = Files.createDirectories(temp.resolve("text"));
        Files.writeString(text.resolve("long.txt"), "The state is carried. ".repeat(20));
        Files.writeString(text.resolve("short.txt"), "Déjà vu");
    }

    @Test
    void figuresFitTogether() {
        Outcome o = eval("--sequence 16 --batch 3").succeeds();
        // Every byte and the end of both documents.
        assertThat(o.number("bytes")).isEqualTo(440 + 9);
        assertThat(o.number("targets")).isEqualTo(440 + 9 + 2);
        assertThat(o.number("perplexity")).isCloseTo(Math.exp(o.number(LOSS)), within(1e-2));
        assertThat(o.number("bits per byte")).isCloseTo(o.number(LOSS) * 451 / 449 / Math.log(2), within(1e-5));
        assertThat(o.out()).contains("2 documents", "given by --data", "tokens/s");
    }

    @Test
    void theLossDoesNotDependOnHowTheTextIsCut() {
        double whole = eval("--sequence 512 --batch 1").succeeds().number(LOSS);
        assertThat(eval("--sequence 7 --batch 2").succeeds().number(LOSS)).isCloseTo(whole, within(1e-5));
        assertThat(eval("--sequence 64 --batch 8").succeeds().number(LOSS)).isCloseTo(whole, within(1e-5));
    }

    @Test
    void theBackendsAgree() {
        double vector = eval("--sequence 64").succeeds().number(LOSS);
        assertThat(eval("--sequence 64 --backend scalar").succeeds().number(LOSS)).isCloseTo(vector, within(1e-5));
        assertThat(eval("--sequence 64 --backend scalar --dtype f64").succeeds().number(LOSS))
                .isCloseTo(vector, within(1e-5));
    }

    @Test
    void whatIsWrongIsSaidInOneLine() throws IOException {
        eval("--sequence 0").fails(ExitCode.USAGE, "1 token", "0");
        Outcome.of("eval", model, "--data", temp.resolve("none")).fails(ExitCode.USAGE, "none", "no such file");
        Path empty = Files.writeString(temp.resolve("empty.txt"), "");
        Outcome.of("eval", model, "--data", empty).fails(ExitCode.USAGE, "empty.txt", "no text");
        Outcome.of("eval", temp).fails(ExitCode.USAGE, "config.json");
    }

    private static Outcome eval(String options) {
        return Outcome.of("eval", model, "--data", text, options);
    }
}
