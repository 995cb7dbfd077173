package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.checkpoint.SafetensorsWriter;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

class InspectCommandTest {
    @TempDir
    private Path temp;

    @Test
    void aFileShowsItsMetadataAndTensors() {
        Path file = temp.resolve("x.safetensors");
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor a = tensors.zeros("a", DType.F32, 2, 3);
            a.set(0, 1, 3);
            a.set(1, 2, -4);
            Tensor b = tensors.zeros("b\u001b[31m", DType.BF16, 4);
            b.set(0, Double.NaN);
            new SafetensorsWriter().metadata("format", "x".repeat(1000)).add(a).add(b)
                    .add(tensors.zeros("n", DType.I32, 5)).write(file);
        }
        Outcome o = Outcome.of("inspect", file).succeeds();
        assertThat(o.out()).contains("format", "(1,000 characters)",
                "3 tensors, 15 elements (4 BF16, 6 F32, 5 I32), 52 bytes").doesNotContain("\u001b", "RMS", "finite")
                .containsPattern("(?m)^a +F32 +\\[2, 3] +24$");
        assertThat(Outcome.of("inspect --stats", file).succeeds().out())
                .containsPattern("(?m)^a .* -4\\.00 +3\\.00 +2\\.04$")
                .contains("warning: b?[31m holds values that are not finite");
    }

    @Test
    void aModelFolderShowsConfigurationAndParameters() {
        Path model = TinyModel.write(temp.resolve("model"));
        Outcome o = Outcome.of("inspect", model).succeeds();
        assertThat(o.out()).contains("decoder_embed_dim          32", "linear_use_lrpe_list       [1, 0]",
                "model.layers.1.channel_mixer.l3.weight", "the head tied to the embedding",
                "%,d parameters".formatted(TinyModel.config(259).parameterCount())).doesNotContain("warning");
    }

    @Test
    void aConfigurationOfAnotherModelIsAWarning() throws IOException {
        Path model = TinyModel.write(temp.resolve("model"));
        Path config = model.resolve("config.json");
        Files.writeString(config, Files.readString(config).replaceFirst("\"glu_dim\" ?: ?64", "\"glu_dim\": 48"));
        assertThat(Outcome.of("inspect", model).succeeds().out()).contains("warning: ", "describes another model",
                "glu_dim 64 (config.json: 48)").doesNotContain(" parameters,");
        Files.writeString(config,
                Files.readString(config).replaceFirst("\"decoder_layers\" ?: ?2", "\"decoder_layers\": 3"));
        assertThat(Outcome.of("inspect", model).succeeds().out()).contains("warning: ", "each of the 3 layers");
    }

    @Test
    void aRunFolderShowsTheRunAndItsNewestModel() throws IOException {
        Path run = temp.resolve("run");
        Path text = Files.createDirectory(temp.resolve("text"));
        Files.writeString(text.resolve("a.txt"), "to be read ".repeat(20));
        Files.writeString(text.resolve("b.txt"), "to be held out ".repeat(5));
        Outcome.of("train --preset nano --steps 2 --batch 1 --sequence 8 --threads 1 --held-out 0.5 --data", text,
                "--out",
                run).succeeds();
        assertThat(Outcome.of("inspect", run).succeeds().out()).contains("run folder", "finished", "VECTOR F32",
                "steps=2", "model folder " + run.resolve("model"), "131,328 parameters");
    }

    @Test
    void whatIsNoneIsSaidInOneLine() throws IOException {
        Outcome.of("inspect", temp.resolve("none")).fails(ExitCode.USAGE, "none", "does not exist");
        Outcome.of("inspect", temp).fails(ExitCode.USAGE, "config.json");
        Outcome.of("inspect", Files.writeString(temp.resolve("text"), "hello, world")).fails(ExitCode.USAGE, "text");
    }
}
