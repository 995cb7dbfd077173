package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Kills a process in the middle of saving, again and again: what it had reported saved must be there, and whole. */
class KilledRunTest {
    private static final int KILLS = 3;

    @TempDir
    Path folder;

    @Test
    @Timeout(120)
    void checkpointsSurviveSigkill() throws IOException, InterruptedException {
        SplittableRandom random = new SplittableRandom();
        Path run = folder.resolve("checkpoints");
        for (int kill = 0; kill < KILLS; kill++) {
            long before = KilledRun.latestStep(run);
            Path output = folder.resolve("output-" + kill);
            Process process = start(run, output);
            while (process.isAlive() && reported(output).size() < 3) {
                Thread.sleep(5);
            }
            Thread.sleep(random.nextInt(30), random.nextInt(1_000_000));
            process.destroyForcibly();
            assertThat(process.waitFor()).as("exit status of SIGKILL").isEqualTo(128 + 9);
            long reported = reported(output).getLast();
            assertThat(reported).isGreaterThan(before);
            assertThat(KilledRun.latestStep(run)).isBetween(reported, reported + 1);
        }
        try (Stream<Path> all = Files.list(run)) {
            assertThat(all.filter(path -> !path.equals(AtomicFiles.owner(path)))).as("left by the last kill alone")
                    .hasSizeLessThanOrEqualTo(2);
        }
    }

    /** Steps of the complete lines. */
    private static List<Long> reported(Path output) throws IOException {
        String text = Files.readString(output);
        return text.substring(0, text.lastIndexOf('\n') + 1).lines().map(Long::valueOf).toList();
    }

    private static Process start(Path run, Path output) throws IOException {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        return new ProcessBuilder(java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
                System.getProperty("java.class.path"), "--enable-native-access=ALL-UNNAMED", KilledRun.class.getName(),
                run.toString()).redirectError(ProcessBuilder.Redirect.INHERIT).redirectOutput(output.toFile()).start();
    }
}
