package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.InputException;
import org.transnormer.plot.Curve;

class MetricsLogTest {
    @TempDir
    Path folder;
    private Path file;

    @BeforeEach
    void name() {
        file = folder.resolve("run/metrics.jsonl");
    }

    @Test
    void linesAreOnDiskAsSoonAsTheyAreWritten() throws IOException {
        try (MetricsLog log = MetricsLog.open(file, 0)) {
            log.write(MetricsLog.line(1).put("loss", 5.5).put("learning_rate", 1e-4).put("tokens", 4096L));
            assertThat(Files.readString(file))
                    .isEqualTo("{\"step\":1,\"loss\":5.5,\"learning_rate\":1.0E-4,\"tokens\":4096}\n");
            log.write(MetricsLog.line(1).put("held_out_loss", 5.25));
            assertThat(MetricsLog.read(file)).hasSize(2);
        }
    }

    @Test
    void aResumedRunGoesOnAfterItsCheckpoint() throws IOException {
        write(0, 1, 2, 2, 3, 4, 5);
        write(2, 3, 4);
        assertThat(steps()).containsExactly(1, 2, 2, 3, 4);
        write(9, 10);
        assertThat(steps()).containsExactly(1, 2, 2, 3, 4, 10);
        write(0, 1);
        assertThat(steps()).containsExactly(1);
    }

    @Test
    void aLineThatWasBeingWrittenIsNoLineAndIsCutOnResume() throws IOException {
        write(0, 1, 2);
        byte[] whole = Files.readAllBytes(file);
        for (int cut = whole.length / 2 + 1; cut < whole.length; cut++) {
            Files.write(file, Arrays.copyOf(whole, cut));
            assertThat(steps()).containsExactly(1);
            write(5, 6);
            assertThat(steps()).containsExactly(1, 6);
        }
    }

    @Test
    void valuesThatAreNotFiniteSurvive() throws IOException {
        try (MetricsLog log = MetricsLog.open(file, 0)) {
            log.write(MetricsLog.line(1).put("loss", 2.0));
            log.write(MetricsLog.line(2).put("loss", Double.NaN));
            log.write(MetricsLog.line(3).put("other", 1));
            log.write(MetricsLog.line(4).put("loss", Double.NEGATIVE_INFINITY));
        }
        Curve loss = MetricsLog.curve(MetricsLog.read(file), "loss");
        assertThat(loss.steps()).containsExactly(1, 2, 4);
        assertThat(loss.values()).containsExactly(2, Double.NaN, Double.NEGATIVE_INFINITY);
        assertThat(MetricsLog.curve(List.of(), "loss").size()).isZero();
    }

    @Test
    void stepsDoNotGoBack() throws IOException {
        try (MetricsLog log = MetricsLog.open(file, 4)) {
            assertThatThrownBy(() -> log.write(MetricsLog.line(3))).isInstanceOf(IllegalArgumentException.class);
            log.write(MetricsLog.line(4));
        }
    }

    @Test
    void aFileThatIsNoLogIsLeftAloneAndNamedWithTheLine() throws IOException {
        write(0, 1);
        for (String bad : List.of("step 2", "{\"loss\":1}", "[1]", "{\"step\":\"2\"}", "")) {
            String content = "{\"step\":1}\n" + bad + "\n";
            Files.writeString(file, content);
            assertThatThrownBy(() -> MetricsLog.open(file, 5)).isInstanceOf(InputException.class)
                    .hasMessageContaining(file + ":2: ");
            assertThatThrownBy(() -> MetricsLog.read(file)).isInstanceOf(InputException.class);
            assertThat(Files.readString(file)).isEqualTo(content);
        }
    }

    private void write(long resumedStep, long... steps) throws IOException {
        try (MetricsLog log = MetricsLog.open(file, resumedStep)) {
            for (long step : steps) {
                log.write(MetricsLog.line(step).put("loss", 1.5));
            }
        }
    }

    private List<Integer> steps() throws IOException {
        return MetricsLog.read(file).stream().map((JsonNode line) -> line.get("step").intValue()).toList();
    }
}
