package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.launch.TestJob;
import org.transnormer.testing.GpuRanks;
import org.transnormer.train.MetricsLog;

/** Processes with a GPU each, as a user starts them. */
@Tag("gpus")
class SeveralGpusTest {
    @TempDir
    Path temp;
    private TestJob job;

    @BeforeEach
    void begin() {
        GpuRanks.require(2);
        job = new TestJob(temp);
    }

    @AfterEach
    void end() throws InterruptedException {
        job.end();
    }

    /** The numbers of one GPU, to F32's sums of two halves. */
    @Test
    void twoGpusTrainAsOneDoes() throws IOException, InterruptedException {
        Path text = Files.writeString(temp.resolve("text.txt"), "Two can read this faster than one. ".repeat(12));
        Path config = TinyModel.write(temp.resolve("model")).resolve("config.json");
        List<List<JsonNode>> runs = new ArrayList<>();
        for (String ranks : List.of("", " --gpus 2", " --gpus 2 --sp 2")) {
            Path out = temp.resolve("out" + runs.size());
            start(Map.of(), ("train --backend cuda --dtype f32 --sequence 16 --batch 2 --schedule constant --warmup 0 "
                    + "--lr 1e-3 --eval-every 0 --steps 4 --data " + text + " --config " + config + " --out " + out)
                    + ranks);
            assertThat(job.status(runs.size())).as(() -> job.said(runs.size()) + job.errors()).isZero();
            runs.add(MetricsLog.read(out.resolve("metrics.jsonl")));
        }
        for (List<JsonNode> two : runs) {
            assertThat(two).hasSameSizeAs(runs.get(0)).isNotEmpty();
            for (int i = 0; i < two.size(); i++) {
                for (String name : new String[] {"step", "tokens", MetricsLog.LOSS, MetricsLog.GRADIENT_NORM,
                    MetricsLog.HELD_OUT_LOSS}) {
                    double one = runs.get(0).get(i).path(name).doubleValue();
                    assertThat(two.get(i).path(name).doubleValue()).as("%s of line %d", name, i).isCloseTo(one,
                            within(2e-5 * one));
                }
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
