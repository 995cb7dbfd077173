package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GenerateCommandTest {
    @TempDir
    private static Path temp;
    private static Path model;

    @BeforeAll
    static void writeModel() {
        model = TinyModel.write(temp.resolve("model"));
    }

    @Test
    void theTextAloneIsOnStandardOutput() {
        Outcome made = generate("--prompt=ab --tokens 20").succeeds();
        assertThat(made.out()).isNotBlank().endsWith(System.lineSeparator()).doesNotContain("tokens/s", "backend");
        assertThat(made.err()).contains("backend: vector", "the fastest on this machine", "tokens/s",
                "prompt: 3 tokens", "generated: 20 tokens", model.toString());
    }

    @Test
    void sameSeedSameTextOtherSeedOtherText() {
        String first = generate("--seed 3 --tokens 40").succeeds().out();
        assertThat(generate("--seed 3 --tokens 40").succeeds().out()).isEqualTo(first);
        assertThat(generate("--seed 4 --tokens 40").succeeds().out()).isNotEqualTo(first);
        assertThat(generate("--seed 3 --tokens 40 --threads 1").succeeds().out()).isEqualTo(first);
    }

    @Test
    void greedyIsTheSameOnBothBackends() {
        String vector = generate("--prompt=abc --greedy --tokens 30").succeeds().out();
        assertThat(generate("--prompt=abc --greedy --tokens 30 --backend scalar").succeeds().out()).isEqualTo(vector);
        assertThat(generate("--prompt=abc --temperature 0 --tokens 30").succeeds().out()).isEqualTo(vector);
    }

    @Test
    void severalTextsDifferAndAreSeparated() {
        String texts = generate("--tokens 30 --number 3").succeeds().out();
        String[] parts = texts.split("---\\R");
        assertThat(parts).hasSize(3).doesNotHaveDuplicates();
        assertThat(parts[0]).isEqualTo(generate("--tokens 30").succeeds().out());
    }

    @Test
    void aPromptFileIsThePrompt() throws IOException {
        // Longer than what the model reads at a time.
        String prompt = "grüße ".repeat(100);
        Path file = Files.writeString(temp.resolve("prompt.txt"), prompt);
        Outcome fromFile = generate("--greedy --tokens 10 --prompt-file", file).succeeds();
        assertThat(fromFile.err()).contains("prompt: 801 tokens");
        // No String, so that it is not split at its blanks.
        Outcome given = generate("--greedy --tokens 10", new StringBuilder("--prompt=" + prompt)).succeeds();
        assertThat(given.out()).isEqualTo(fromFile.out());
    }

    @Test
    void whatIsWrongIsSaidInOneLine() throws IOException {
        generate("--temperature -1").fails(ExitCode.USAGE, "temperature", "-1");
        generate("--top-p 2").fails(ExitCode.USAGE, "top-p", "2.0");
        generate("--tokens 0").fails(ExitCode.USAGE, "--tokens", "0");
        generate("--number 0").fails(ExitCode.USAGE, "--number");
        generate("--threads 0").fails(ExitCode.USAGE, "--threads");
        generate("--dtype f64").fails(ExitCode.USAGE, "--backend vector has --dtype f32, bf16");
        generate("--prompt-file", temp.resolve("none.txt")).fails(ExitCode.USAGE, "no such file", "none.txt");
        Path latin = Files.write(temp.resolve("latin.txt"), new byte[] {'a', (byte) 0xe9, 'b'});
        generate("--prompt-file", latin).fails(ExitCode.USAGE, "latin.txt", "not UTF-8");
        assertThat(generate("--greedy --temperature 1").status()).isEqualTo(ExitCode.USAGE);
        Outcome.of("generate", temp.resolve("nowhere")).fails(ExitCode.USAGE, "nowhere", "does not exist");
        Outcome.of("generate", Files.createDirectories(temp.resolve("empty"))).fails(ExitCode.USAGE, "config.json");
    }

    @Test
    void aTokenizerThatDoesNotFitIsRefused() throws IOException {
        Path foreign = TinyModel.write(temp.resolve("foreign"));
        Files.delete(foreign.resolve("tokenizer.json"));
        Outcome.of("generate", foreign).fails(ExitCode.USAGE, "tokenizer.json");
        Files.write(foreign.resolve("tokenizer.model"), new byte[] {1});
        Outcome.of("generate", foreign).fails(ExitCode.USAGE, "SentencePiece", "not supported");
        Outcome.of("generate", TinyModel.write(temp.resolve("small"), 100)).fails(ExitCode.USAGE, "259", "100");
    }

    @Test
    void aVocabularyLargerThanTheTokenizersIsCutToIt() {
        Path large = TinyModel.write(temp.resolve("large"), 1000);
        Outcome.of("generate", large, "--temperature 5 --top-p 1 --tokens 60").succeeds();
    }

    private static Outcome generate(Object... arguments) {
        Object[] all = new Object[arguments.length + 2];
        all[0] = "generate";
        all[1] = model;
        System.arraycopy(arguments, 0, all, 2, arguments.length);
        return Outcome.of(all);
    }
}
