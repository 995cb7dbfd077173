package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/**
 * A real process whose files cannot grow, as on a full disk: one line and exit code 3, and the run goes on afterwards as
 * if nothing had happened.
 */
@EnabledOnOs(OS.LINUX)
class FullDiskTest {
    private static final int MINUTES = 5;
    /** Blocks of 512 or 1,024 bytes, as the shell likes: more than a run's records take, less than its weights. */
    private static final int LIMIT = 100;
    private static final String OPTIONS =
            "--sequence 16 --batch 1 --schedule constant --warmup 0 --eval-every 0 --checkpoint-every 1";

    @TempDir
    private static Path temp;
    private static Path text;
    private static Path config;

    @BeforeAll
    static void writeFiles() throws IOException {
        text = Files.writeString(temp.resolve("text.txt"), "There is no more room at the inn. ".repeat(30));
        config = TinyModel.write(temp.resolve("model")).resolve("config.json");
    }

    @Test
    void aCheckpointThatDoesNotFitLeavesTheOneBefore() throws Exception {
        Path whole = train("whole", 4);
        Path run = train("checkpoint", 2);
        assertThat(resumedWithoutRoom(run)).contains("step-00000003", "cannot be written");
        assertThat(names(run.resolve("checkpoints"))).containsExactly("step-00000001", "step-00000002");
        assertGoesOn(run, whole);
    }

    /** Nothing half written is left where several ranks write. */
    @Test
    void aCheckpointOfSeveralRanksThatDoesNotFitLeavesTheOneBefore() throws Exception {
        Path run = train("ranks", 1);
        assertThat(resumedWithoutRoom(run, "--ranks", "2", "--tp", "2"))
                .startsWith("tnl: rank 0 (").contains("step-00000002: cannot be written");
        assertThat(names(run.resolve("checkpoints"))).containsExactly("step-00000001");
    }

    @Test
    void aLogThatDoesNotFitLeavesTheCheckpointsAlone() throws Exception {
        Path whole = train("other-whole", 4);
        Path run = train("log", 2);
        Path log = run.resolve("metrics.jsonl");
        String lines = Files.readString(log);
        Files.writeString(log, "{\"step\":0,\"pad\":\"" + "x".repeat(LIMIT * 1024) + "\"}\n" + lines);
        assertThat(resumedWithoutRoom(run)).contains("metrics.jsonl", "cannot be written");
        assertThat(Files.readString(log)).endsWith(lines);
        assertGoesOn(run, whole);
    }

    private static Path train(String name, int steps) {
        Path run = temp.resolve(name);
        Outcome.of("train", OPTIONS, "--steps", steps, "--data", text, "--config", config, "--out", run).succeeds();
        return run;
    }

    private static void assertGoesOn(Path run, Path whole) {
        Outcome.of("train --steps 4 --resume", run).succeeds();
        assertThat(run.resolve("model/model.safetensors"))
                .hasSameBinaryContentAs(whole.resolve("model/model.safetensors"));
    }

    /** What the program says on standard error. */
    private static String resumedWithoutRoom(Path run, String... options) throws Exception {
        List<String> command = new ArrayList<>(List.of("sh", "-c", "ulimit -f " + LIMIT + " && exec \"$@\"", "sh",
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:-UsePerfData",
                "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-XX:+UseSerialGC", "-cp",
                System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                Tnl.class.getName(), "train", "--steps", "4", "--resume", run.toString()));
        command.addAll(List.of(options));
        Path errors = Files.createTempFile(temp, "errors", "");
        Process process = new ProcessBuilder(command).redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(errors.toFile()).start();
        try {
            assertThat(process.waitFor(MINUTES, TimeUnit.MINUTES)).isTrue();
        } finally {
            process.destroyForcibly();
        }
        List<String> lines = Files.readAllLines(errors).stream()
                .filter(line -> !line.contains("WARNING: Using incubator modules")).toList();
        assertThat(process.exitValue()).as(() -> String.join("\n", lines)).isEqualTo(ExitCode.ENVIRONMENT);
        assertThat(lines).hasSize(1);
        return lines.getFirst();
    }

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.map(path -> path.getFileName().toString()).sorted().toList();
        }
    }
}
