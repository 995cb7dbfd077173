package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.launch.TestJob;
import org.transnormer.plot.Curve;
import org.transnormer.testing.GpuRanks;
import org.transnormer.train.MetricsLog;

/** Processes with a GPU each, as a user starts them. */
@Tag("gpus")
class SeveralGpusTest {
    @TempDir
    Path temp;
    private TestJob job;
    private int started;

    @BeforeEach
    void begin() {
        GpuRanks.require(2);
        job = new TestJob(temp);
    }

    @AfterEach
    void end() throws InterruptedException {
        job.end();
    }

    /** The numbers of one GPU, to F32's sums of two halves; also of a run that goes on with other parts on each. */
    @Test
    void twoGpusTrainAsOneDoes() throws IOException, InterruptedException {
        Path one = train("one", 4, "");
        for (String ranks : List.of(" --gpus 2", " --gpus 2 --sp 2")) {
            assertSameCurves(train("two" + started, 4, ranks), one, MetricsLog.LOSS, MetricsLog.GRADIENT_NORM, "tokens",
                    MetricsLog.HELD_OUT_LOSS);
        }
        Path other = train("other", 2, " --gpus 2 --tp 2");
        assertThat(job.said(started - 1)).containsPattern(
                "ranks: 2, .*; sums beside the computation: tensor by (copies between GPUs|NCCL: )");
        tnl("train --steps 4 --gpus 2 --sharding full --resume " + other);
        assertSameCurves(other, one, MetricsLog.LOSS, MetricsLog.GRADIENT_NORM, "tokens");
        assertThat(Files.size(other.resolve("model/model.safetensors")))
                .isEqualTo(Files.size(one.resolve("model/model.safetensors")));
    }

    private Path train(String name, int steps, String gpus) throws IOException, InterruptedException {
        Path text = Files.writeString(temp.resolve("text.txt"), "Two can read this faster than one. ".repeat(12));
        Path config = temp.resolve("model/config.json");
        if (!Files.exists(config)) {
            TinyModel.write(config.getParent());
        }
        Path out = temp.resolve(name);
        tnl("train --backend cuda --dtype f32 --sequence 16 --batch 2 --schedule constant --warmup 0 --lr 1e-3 "
                + "--eval-every 0 --steps " + steps + " --data " + text + " --config " + config + " --out " + out
                + gpus);
        return out;
    }

    private void tnl(String command) throws InterruptedException {
        start(Map.of(), command);
        int number = started++;
        assertThat(job.status(number)).as(() -> command + job.said(number) + job.errors()).isZero();
    }

    private static void assertSameCurves(Path got, Path want, String... names) throws IOException {
        List<JsonNode> one = MetricsLog.read(want.resolve("metrics.jsonl"));
        List<JsonNode> two = MetricsLog.read(got.resolve("metrics.jsonl"));
        for (String name : names) {
            Curve wanted = MetricsLog.curve(one, name);
            assertThat(wanted.steps()).isNotEmpty();
            assertThat(MetricsLog.curve(two, name).steps()).as("steps with " + name).isEqualTo(wanted.steps());
            for (int i = 0; i < wanted.steps().length; i++) {
                assertThat(MetricsLog.curve(two, name).values()[i]).as("%s of step %s", name, wanted.steps()[i])
                        .isCloseTo(wanted.values()[i], within(2e-5 * wanted.values()[i]));
            }
        }
    }

    @Test
    void ranksThatASchedulerStartedMeasureWhatTheyExchange() throws InterruptedException {
        for (int rank = 0; rank < 2; rank++) {
            start(Map.of("RANK", "" + rank, "WORLD_SIZE", "2", "LOCAL_RANK", "" + rank, "LOCAL_WORLD_SIZE", "2",
                    "MASTER_ADDR", "127.0.0.1", "MASTER_PORT", "" + job.port, "TNL_SECRET", "for one test only"),
                    "bench collectives --size 1 --seconds 0.01");
        }
        assertThat(job.statuses()).as(() -> job.said(0) + job.errors()).containsOnly(0);
        assertThat(job.said(0)).contains("gpus 2").containsPattern("all-reduce +1 +[\\d.]+ +[\\d.]+ +[\\d,]+\\R");
        assertThat(job.said(1)).isEmpty();
    }

    private void start(Map<String, String> environment, String command) {
        Map<String, String> all = new HashMap<>(environment);
        StringBuilder options = new StringBuilder();
        for (String property : List.of("tnl.cuda.path", "tnl.cache")) {
            if (System.getProperty(property) != null) {
                options.append(" -D").append(property).append('=').append(System.getProperty(property));
            }
        }
        all.put("JDK_JAVA_OPTIONS", options.toString());
        job.start(Tnl.class, all, command.split(" "));
    }
}
