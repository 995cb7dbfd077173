package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainCommandTest {
    @TempDir
    private static Path temp;
    private static Path text;
    private static Path config;

    @BeforeAll
    static void writeFiles() throws IOException {
        config = TinyModel.write(temp.resolve("tiny")).resolve("config.json");
        text = Files.createDirectories(temp.resolve("text"));
        for (int i = 0; i < 6; i++) {
            Files.writeString(text.resolve(i + ".txt"), "Document %d says something. ".formatted(i).repeat(4 + i));
        }
    }

    @Test
    void trainGenerateEvalGoOn() throws IOException {
        Path run = temp.resolve("smoke");
        Outcome trained = train("--steps 4 --out", run).succeeds();
        assertThat(trained.out().indexOf("memory: weights")).isBetween(0, trained.out().indexOf("1/4  loss"));
        assertThat(trained.out()).contains("backend: vector", "131,328 parameters", "5 documents", "1 of",
                "4 steps of 64 tokens, 256 in all", "4/4  loss", "held-out loss", "sample:", "peak memory:", "planned",
                run.toString());
        assertThat(run.resolve("loss.svg")).isNotEmptyFile();
        assertThat(Files.readAllLines(run.resolve("metrics.jsonl"))).hasSize(8);

        Outcome made = Outcome.of("generate", run, "--tokens 5").succeeds();
        assertThat(made.err()).contains(run.resolve("model").toString());
        Outcome evaluated = Outcome.of("eval", run).succeeds();
        assertThat(evaluated.out()).contains("1 documents", "held out by the run");
        assertThat(trained.out()).contains("held-out loss %.4f nats".formatted(evaluated.number("loss")));

        Outcome.of("train --resume", run).fails(ExitCode.USAGE, "is finished after step 4", "--steps");
        Outcome longer = Outcome.of("train --steps 6 --resume", run).succeeds();
        assertThat(longer.out()).contains("after step 4", "6/6  loss").doesNotContain("4/6");
        assertThat(Files.readAllLines(run.resolve("metrics.jsonl"))).hasSize(12);
        Outcome.of("eval", run).succeeds();
    }

    @Test
    void aRunThatGoesOnEndsWithTheSameBits() throws IOException {
        assertSameAfterKill("f32", "");
    }

    @Test
    void theSpecTrainsInDoubleAndGoesOnToo() throws IOException {
        assertSameAfterKill("f64", "--backend scalar --dtype f64");
    }

    @Test
    void bfloat16WeightsGoOnFromTheirMasters() throws IOException {
        assertSameAfterKill("bf16", "--dtype bf16");
    }

    /** As if the machine had gone down after step 5, whose lines are in the log, with the checkpoint of step 3. */
    private static void assertSameAfterKill(String name, String options) throws IOException {
        Path whole = temp.resolve(name + "-whole");
        Outcome.of(Stream.of("train --sequence 16 --batch 1 --eval-every 1 --steps 6 --checkpoint-every 3 --config",
                config, "--data", text, "--out", whole, options).filter(a -> !a.equals("")).toArray()).succeeds();
        Path killed = temp.resolve(name + "-killed");
        copy(whole, killed);
        Path log = killed.resolve("metrics.jsonl");
        Files.writeString(log, String.join("\n", Files.readAllLines(log).subList(0, 10)) + "\n{\"step\":6,\"lo");
        delete(killed.resolve("model"));
        delete(killed.resolve("checkpoints/step-00000006"));
        assertThat(Outcome.of("generate", killed, "--tokens 1").succeeds().err()).contains("step-00000003");

        Outcome.of("train --resume", killed).succeeds();
        for (String file : new String[] {"model/model.safetensors", "metrics.jsonl", "run.json",
            "checkpoints/step-00000006/optimizer.safetensors"}) {
            assertThat(killed.resolve(file)).hasSameBinaryContentAs(whole.resolve(file));
        }
    }

    /** The table is shorter than the documents and than the sample. */
    @Test
    void absolutePositionsTrainEvaluateAndEnd() throws IOException {
        Path absolute = Files.writeString(temp.resolve("absolute.json"), """
                {"vocab_size": 259, "decoder_embed_dim": 32, "decoder_layers": 2, "decoder_attention_heads": 2,
                 "hidden_dim": 32, "glu_dim": 64, "linear_use_lrpe_list": [0, 0],
                 "tnl": {"position": "ABSOLUTE", "max_position_embeddings": 24}}""");
        Path run = temp.resolve("absolute");
        Outcome trained = Outcome.of("train --steps 3 --sequence 24 --batch 2 --data", text, "--config", absolute,
                "--out", run).succeeds();
        Outcome evaluated = Outcome.of("eval --sequence 100", run).succeeds();
        assertThat(evaluated.out()).contains("24 absolute positions", "windows");
        assertThat(trained.out()).contains("held-out loss %.4f nats".formatted(evaluated.number("loss")));
        Outcome.of("generate --tokens 22 --prompt=ab", run).succeeds();
        Outcome.of("generate --tokens 23 --prompt=ab", run).fails(ExitCode.USAGE, "25 tokens",
                "max_position_embeddings is 24");
        Outcome.of("train --steps 5 --resume", run).succeeds();
        Path longer = temp.resolve("longer");
        Outcome.of("train --sequence 25 --data", text, "--config", absolute, "--out", longer).fails(ExitCode.USAGE,
                "25 tokens", "max_position_embeddings is 24");
        assertThat(longer).doesNotExist();
    }

    @Test
    void badDataIsSaidInOneLine() throws IOException {
        Path empty = Files.writeString(temp.resolve("empty.txt"), "");
        Path out = temp.resolve("x");
        Outcome.of("train --out", out, "--data", empty).fails(ExitCode.USAGE, "empty.txt", "no text");
        Outcome.of("train --out", out, "--data", temp.resolve("none")).fails(ExitCode.USAGE, "none", "no such file");
        Outcome.of("train --sequence 5000 --out", out, "--data", text).fails(ExitCode.USAGE, "5,000",
                "smaller sequence");
        assertThat(out).doesNotExist();
    }

    @Test
    void badOptionsAreSaidInOneLine() throws IOException {
        Path out = temp.resolve("y");
        train("--lr 0 --out", out).fails(ExitCode.USAGE, "--lr", "0.0");
        train("--steps 0 --out", out).fails(ExitCode.USAGE, "--steps", "0");
        train("--steps 3 --warmup 3 --out", out).fails(ExitCode.USAGE, "--warmup", "less than --steps");
        train("--schedule wsd --steps 3 --lr-decay 9 --out", out).fails(ExitCode.USAGE, "--lr-decay", "9");
        train("--schedule fast --out", out).fails(ExitCode.USAGE, "--schedule", "cosine");
        train("--preset huge --out", out).fails(ExitCode.USAGE, "huge", "tiny");
        train("--dtype f64 --out", out).fails(ExitCode.USAGE, "f32, bf16");
        train("--preset 175B --out", out).fails(ExitCode.ENVIRONMENT, "memory", "smaller");
        Path small = Files.writeString(temp.resolve("config.json"),
                "{\"vocab_size\": 100, \"decoder_layers\": 1, \"linear_use_lrpe_list\": [1]}");
        Outcome.of("train --data", text, "--config", small).fails(ExitCode.USAGE, "vocab_size", "100", "259");
        train("--config", small, "--out", out).fails(ExitCode.USAGE, "--preset and --config");
        assertThat(out).doesNotExist();
        Path full = Files.createDirectories(temp.resolve("full"));
        Files.writeString(full.resolve("thesis.txt"), "mine");
        train("--out", full).fails(ExitCode.USAGE, "full", "not empty");
        assertThat(full.resolve("thesis.txt")).hasContent("mine");
    }

    @Test
    void aRunGoesOnWithItsOwnSettings() throws IOException {
        Path run = temp.resolve("settings");
        train("--steps 2 --out", run).succeeds();
        Outcome.of("train --steps 4 --lr 1e-4 --resume", run).fails(ExitCode.USAGE, "leave out --lr");
        Outcome.of("train --steps 4 --dtype bf16 --resume", run).fails(ExitCode.USAGE, "F32", "BF16");
        Outcome.of("train --steps 1 --resume", run).fails(ExitCode.USAGE, "give more --steps");
        Outcome.of("train --resume", temp).fails(ExitCode.USAGE, "not a run folder");
        Path other = temp.resolve("other");
        copy(run, other);
        String description = Files.readString(other.resolve("run.json"));
        Files.writeString(other.resolve("run.json"), description.replaceFirst("(\"train_digest\" : \")....", "$1beef"));
        Outcome.of("train --steps 4 --resume", other).fails(ExitCode.USAGE, "no longer what the run was started with");
        delete(run.resolve("checkpoints"));
        Outcome.of("train --steps 4 --resume", run).fails(ExitCode.USAGE, "no complete checkpoint");
        assertThat(run.resolve("run.json")).content().contains("\"steps\" : 2");
    }

    @Test
    void aLossThatIsNoNumberEndsTheRunAndLeavesItsCheckpoints() throws IOException {
        Path run = temp.resolve("nan");
        Outcome.of("train --preset nano --sequence 32 --batch 2 --eval-every 0 --steps 9 --lr 9 --clip 0 --data", text,
                "--weight-decay 4.5e37 --warmup 3 --checkpoint-every 1 --out", run)
                .fails(ExitCode.ENVIRONMENT, "the gradient norm NaN at step 2", "--lr");
        assertThat(run.resolve("model")).doesNotExist();
        try (Stream<Path> saved = Files.list(run.resolve("checkpoints"))) {
            List<Path> checkpoints = saved.toList();
            assertThat(checkpoints).hasSize(1);
            for (Path checkpoint : checkpoints) {
                assertThat(checkpoint.getFileName().toString()).matches("step-\\d{8}");
                Outcome.of("inspect", checkpoint).succeeds();
            }
        }
    }

    @Test
    void weightsWithoutALossAreNotSaved() {
        Path run = temp.resolve("held-out");
        train("--steps 1 --lr 9 --weight-decay 1e39 --out", run).fails(ExitCode.ENVIRONMENT, "held-out loss is NaN",
                "step 1", "--lr");
        assertThat(run.resolve("checkpoints")).doesNotExist();
        assertThat(run.resolve("model")).doesNotExist();
    }

    @Test
    void helpNamesEveryDefault() {
        assertThat(Outcome.of("train --help").succeeds().out()).contains("default 1.5e-2", "default cosine",
                "nano, tiny, peer-cpu", "How to compute").doesNotContain("${", "null");
    }

    private static Outcome train(Object... arguments) {
        return Outcome.of(Stream.concat(Stream.of("train --preset nano --sequence 32 --batch 2 --data", text,
                "--eval-every 1"), Stream.of(arguments)).toArray());
    }

    private static void copy(Path from, Path to) throws IOException {
        try (Stream<Path> all = Files.walk(from)) {
            for (Path path : all.toList()) {
                Files.copy(path, to.resolve(from.relativize(path).toString()));
            }
        }
    }

    private static void delete(Path tree) throws IOException {
        try (Stream<Path> all = Files.walk(tree)) {
            for (Path path : all.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }
}
