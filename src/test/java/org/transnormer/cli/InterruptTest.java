package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** A real process that is told to stop in the middle of training. */
@EnabledOnOs(OS.LINUX)
class InterruptTest {
    private static final int MINUTES = 5;
    private static final String OPTIONS = "--sequence 16 --batch 1 --schedule constant --warmup 0 --eval-every 0";

    @TempDir
    private static Path temp;
    private static Path text;
    private static Path config;

    @BeforeAll
    static void writeFiles() throws IOException {
        text = Files.writeString(temp.resolve("text.txt"), "Stop me if you have heard this one. ".repeat(30));
        config = TinyModel.write(temp.resolve("model")).resolve("config.json");
    }

    @Test
    void controlCSavesAndGoesOnToTheSameBits() throws Exception {
        assertStopsAndGoesOn("INT", 130);
    }

    @Test
    void terminationSavesAndGoesOnToTheSameBits() throws Exception {
        assertStopsAndGoesOn("TERM", 143);
    }

    private static void assertStopsAndGoesOn(String signal, int status) throws Exception {
        Path stopped = temp.resolve("stopped-" + signal);
        Process process = start(stopped);
        List<String> lines = new ArrayList<>();
        try (BufferedReader output = process.inputReader()) {
            for (String line = output.readLine(); line != null; line = output.readLine()) {
                lines.add(line);
                if (line.startsWith("1/")) {
                    assertThat(new ProcessBuilder("kill", "-" + signal, Long.toString(process.pid())).start()
                            .waitFor()).isZero();
                }
            }
            assertThat(process.waitFor(MINUTES, TimeUnit.MINUTES)).isTrue();
        } finally {
            process.destroyForcibly();
        }
        assertThat(process.exitValue()).as(() -> String.join("\n", lines)).isEqualTo(status);
        assertThat(lines.getLast()).startsWith("stopped after step ").endsWith("tnl train --resume " + stopped);
        int steps = Integer.parseInt(lines.getLast().replaceFirst("stopped after step (\\d+);.*", "$1")) + 2;

        Outcome.of("train --resume", stopped, "--steps", steps).succeeds();
        Path whole = temp.resolve("whole-" + signal);
        Outcome.of("train", OPTIONS, "--steps", steps, "--data", text, "--config", config, "--out", whole).succeeds();
        assertThat(stopped.resolve("model/model.safetensors"))
                .hasSameBinaryContentAs(whole.resolve("model/model.safetensors"));
        assertThat(stopped.resolve("metrics.jsonl")).hasSameTextualContentAs(whole.resolve("metrics.jsonl"));
    }

    /** A process that handles Ctrl-C even if this one was started with it ignored, as in the background of a script. */
    private static Process start(Path out) throws IOException {
        List<String> command = new ArrayList<>(List.of("env", "--default-signal=INT",
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-XX:+UseSerialGC", "-cp",
                System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                Tnl.class.getName(), "train"));
        command.addAll(List.of(OPTIONS.split(" ")));
        command.addAll(List.of("--steps", "10000000", "--checkpoint-every", "0", "--data", text.toString(), "--config",
                config.toString(), "--out", out.toString()));
        return new ProcessBuilder(command).redirectErrorStream(true).start();
    }
}
