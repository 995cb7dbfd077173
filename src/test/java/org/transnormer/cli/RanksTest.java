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
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.launch.TestJob;
import org.transnormer.train.MetricsLog;
import org.transnormer.train.RunFolder;

/** Training by several processes, as a user starts it. */
@EnabledOnOs(OS.LINUX)
class RanksTest {
    private static final String OPTIONS = "--backend scalar --dtype f64 --sequence 16 --batch 2 --schedule constant "
            + "--warmup 0 --lr 1e-3 --eval-every 0";
    private static final String FOREVER = "--steps 10000000";
    private static final String FIRST_CHECKPOINT = "checkpoints/step-00000002/state.json";
    @TempDir
    Path temp;
    private TestJob job;
    private Path text;
    private Path config;

    @BeforeEach
    void begin() throws IOException {
        job = new TestJob(temp);
        text = Files.writeString(temp.resolve("text.txt"), "Two can read this faster than one. ".repeat(12));
        config = TinyModel.write(temp.resolve("model")).resolve("config.json");
    }

    @AfterEach
    void end() throws InterruptedException {
        job.end();
    }

    /** Stopped and gone on with, two ranks compute the bits of two that were not stopped, and the numbers of one. */
    @Test
    void twoRanksSaveWhenToldToStopAndGoOn() throws Exception {
        Path stopped = temp.resolve("stopped");
        Process launcher = start(Map.of(), "--ranks 2 " + FOREVER, stopped);
        job.await(0, "1/10000000  loss");
        List<ProcessHandle> ranks = launcher.children().toList();
        assertThat(ranks).hasSize(2);
        job.signal("TERM", 0);
        assertThat(job.status(0)).isEqualTo(143);
        assertThat(ranks).noneMatch(ProcessHandle::isAlive);
        assertThat(job.errors()).isEmpty();
        assertThat(job.said(0))
                .contains("ranks: 2, data 2 x sequence 1 x tensor 1", "go on with: tnl train --resume " + stopped)
                .containsOnlyOnce("model: ");
        long step = Long.parseLong(job.said(0).replaceFirst("(?s).*stopped after step (\\d+);.*", "$1"));

        Path whole = temp.resolve("whole");
        job.start(Tnl.class, Map.of(), ("train --ranks 2 --steps " + (step + 2) + " --resume " + stopped).split(" "));
        start(Map.of(), "--ranks 2 --steps " + (step + 2), whole);
        assertThat(job.statuses()).containsExactly(143, 0, 0);
        assertThat(stopped.resolve("model/model.safetensors"))
                .hasSameBinaryContentAs(whole.resolve("model/model.safetensors"));
        assertThat(stopped.resolve("metrics.jsonl")).hasSameTextualContentAs(whole.resolve("metrics.jsonl"));

        assertNumbersOfOne(whole, step + 2);
    }

    /** Each holds one half of every row; it goes on with each reading rows of its own. */
    @Test
    void twoRanksOfOneSequenceTrainAsOneDoes() throws Exception {
        Path halves = temp.resolve("halves");
        start(Map.of(), "--ranks 2 --sp 2 --sharding full --steps 3", halves);
        assertThat(job.status(0)).as(() -> job.said(0) + job.errors()).isZero();
        assertThat(job.said(0)).contains("ranks: 2, data 1 x sequence 2 x tensor 1");
        assertNumbersOfOne(halves, 3);
        job.start(Tnl.class, Map.of(), ("train --ranks 2 --steps 4 --resume " + halves).split(" "));
        assertThat(job.status(1)).as(() -> job.said(1) + job.errors()).isZero();
    }

    private void assertNumbersOfOne(Path run, long steps) throws IOException {
        Path single = temp.resolve("single");
        Outcome.of("train", OPTIONS, "--steps", steps, "--data", text, "--config", config, "--out", single)
                .succeeds();
        assertSameNumbers(run, single);
    }

    private static void assertSameNumbers(Path got, Path want) throws IOException {
        List<JsonNode> one = MetricsLog.read(want.resolve("metrics.jsonl"));
        List<JsonNode> two = MetricsLog.read(got.resolve("metrics.jsonl"));
        assertThat(two).hasSameSizeAs(one);
        for (int i = 0; i < one.size(); i++) {
            for (String name : new String[] {"step", "tokens", MetricsLog.LOSS, MetricsLog.GRADIENT_NORM,
                MetricsLog.HELD_OUT_LOSS}) {
                assertThat(two.get(i).path(name).doubleValue()).as("%s of line %d", name, i)
                        .isCloseTo(one.get(i).path(name).doubleValue(), within(1e-9));
            }
        }
    }

    /** Each start has other ranks, which hold other parts; the numbers are those of one that was never stopped. */
    @Test
    void aRunGoesOnUnderAnyLayout() throws Exception {
        Path run = temp.resolve("run");
        start(Map.of(), "--ranks 2 --tp 2 --steps 2", run);
        String goOn = "train --resume " + run + " --steps ";
        assertThat(job.status(0)).as(job.errors()).isZero();
        assertThat(job.said(0)).contains("sample:");
        Outcome.of(goOn + 3).succeeds();
        int next = 1;
        for (String ranks : new String[] {"4 --ranks 2 --sharding full", "5 --ranks 2 --sp 2 --sharding zero1",
            "6 --ranks 2 --sp 2 --sharding zero1"}) {
            job.start(Tnl.class, Map.of(), (goOn + ranks).split(" "));
            assertThat(job.status(next++)).as(job.errors()).isZero();
        }
        assertThat(job.errors()).isEmpty();
        assertThat(RunFolder.open(run).ranks()).containsExactly(
                new RunFolder.Ranks(0, "data 1 x sequence 1 x tensor 2", "replicated"),
                new RunFolder.Ranks(2, "data 1 x sequence 1 x tensor 1", "replicated"),
                new RunFolder.Ranks(3, "data 2 x sequence 1 x tensor 1", "fully-sharded"),
                new RunFolder.Ranks(4, "data 1 x sequence 2 x tensor 1", "zero1"));
        Outcome.of("generate --tokens 2", run).succeeds();

        Path single = temp.resolve("single");
        Outcome.of("train", OPTIONS, "--steps 2 --data", text, "--config", config, "--out", single).succeeds();
        for (int steps = 3; steps <= 6; steps++) {
            Outcome.of("train --steps", "" + steps, "--resume", single).succeeds();
        }
        assertSameNumbers(run, single);
    }

    @Test
    void aKilledRankEndsTheRunAndItsCheckpointIsWhole() throws Exception {
        Path run = temp.resolve("killed");
        Process launcher = start(Map.of(), "--ranks 3 --batch 3 --sharding full --checkpoint-every 1 " + FOREVER, run);
        awaitFile(run.resolve(FIRST_CHECKPOINT));
        List<ProcessHandle> ranks = launcher.children().sorted().toList();
        ProcessHandle doomed = ranks.stream().max(java.util.Comparator.comparing(ProcessHandle::pid)).orElseThrow();
        assertThat(doomed.destroyForcibly()).isTrue();
        assertThat(job.status(0)).isEqualTo(3);
        assertThat(ranks).noneMatch(ProcessHandle::isAlive);
        job.oneLine(0, "tnl: rank 2 (pid " + doomed.pid(), "it is gone; every rank ends");
        Outcome.of("generate --tokens 2", run).succeeds();
        Path last = RunFolder.open(run).newestModel();
        long step = Long.parseLong(last.getFileName().toString().replace("step-", ""));
        Outcome.of("train --steps", step + 1, "--resume", run).succeeds();
    }

    @Test
    void ranksEndWithWhatStartedThem() throws Exception {
        Path run = temp.resolve("orphans");
        Process launcher = start(Map.of(), "--ranks 2 " + FOREVER, run);
        job.await(0, "1/10000000  loss");
        List<ProcessHandle> ranks = launcher.children().toList();
        job.signal("KILL", 0);
        for (ProcessHandle rank : ranks) {
            rank.onExit().get(20, TimeUnit.SECONDS);
        }
        assertThat(job.errors()).contains("what started it is gone; every rank ends");
    }

    @Test
    void whatIsWrongIsSaidOnce() throws Exception {
        Path out = temp.resolve("wrong");
        Outcome.of("train --ranks 2 --lr 0").fails(ExitCode.USAGE, "--lr");
        Outcome.of("train --gpus 0").fails(ExitCode.USAGE, "--gpus must be 1 or more, not 0");
        start(Map.of(), "--ranks 2 --batch 3", out);
        assertThat(job.status(0)).isEqualTo(2);
        job.oneLine(0, "rank ", "--batch 3 rows cannot be shared by 2 ranks");
        assertThat(out).doesNotExist();
        start(Map.of(), "--ranks 2 --sp 2 --sequence 15", out);
        assertThat(job.status(1)).isEqualTo(2);
        assertThat(job.errors()).contains("--sequence 15 tokens cannot be cut into equal parts for 2 ranks");
        start(Map.of(), "--ranks 2 --sp 3", out);
        assertThat(job.status(2)).isEqualTo(2);
        assertThat(job.errors()).contains("--sp 3 does not divide the 2 ranks");
    }

    @Test
    void slurmsProcessesMeetByThemselves() throws Exception {
        Path out = temp.resolve("slurm");
        for (int r = 0; r < 2; r++) {
            start(new HashMap<>(Map.of("SLURM_PROCID", "" + r, "SLURM_NTASKS", "2", "SLURM_LOCALID", "" + r,
                    "SLURM_JOB_NODELIST", "localhost", "SLURM_JOB_ID", "" + (job.port - 12_000))), "--steps 2", out);
        }
        assertThat(job.statuses()).containsOnly(0);
        assertThat(job.errors()).isEmpty();
        assertThat(job.said(0)).contains("ranks: 2", "2/2  loss", "sample:");
        assertThat(job.said(1)).isEmpty();
    }

    /** As two pods, of which each counts as a machine and starts the ranks that are there. */
    @Test
    void machinesMeetByThemselves() throws Exception {
        Path out = temp.resolve("pods");
        for (int r = 0; r < 2; r++) {
            start(Map.of("RANK", "" + r, "WORLD_SIZE", "2", "MASTER_ADDR", "localhost", "MASTER_PORT", "" + job.port,
                    "TNL_SECRET", "a secret that all pods have"), "--ranks 1 --steps 2", out);
        }
        assertThat(job.statuses()).containsOnly(0);
        assertThat(job.errors()).isEmpty();
        assertThat(job.said(0)).contains("ranks: 2", "2/2  loss", "sample:");
        assertThat(job.said(1)).isEmpty();
    }

    /** Each layer split over both: the same text, and the same loss. */
    @Test
    void twoRanksGenerateAndEvaluateWhatOneDoes() throws Exception {
        String model = config.getParent().toString();
        String generate = "generate --backend scalar --dtype f64 --greedy --tokens 12 --prompt Two " + model;
        String evaluate = "eval " + model + " --backend scalar --dtype f64 --data " + text;
        job.start(Tnl.class, Map.of(), (generate + " --ranks 2").split(" "));
        job.start(Tnl.class, Map.of(), (evaluate + " --ranks 2").split(" "));
        assertThat(job.statuses()).containsOnly(0);
        assertThat(job.said(0)).isEqualTo(Outcome.of(generate).succeeds().out());
        assertThat(job.errors()).containsOnlyOnce("tokens/s; generated");
        Outcome one = Outcome.of(evaluate).succeeds();
        assertThat(new Outcome(0, job.said(1), "").number("loss")).isEqualTo(one.number("loss"));
        assertThat(job.said(1)).containsOnlyOnce("perplexity");
    }

    private Process start(Map<String, String> environment, String options, Path out) {
        List<String> arguments = new ArrayList<>(Stream.of(("train " + OPTIONS + " " + options).split(" ")).toList());
        arguments.addAll(List.of("--data", text.toString(), "--config", config.toString(), "--out", out.toString()));
        return job.start(Tnl.class, environment, arguments.toArray(String[]::new));
    }

    private void awaitFile(Path file) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (!Files.exists(file)) {
            assertThat(System.nanoTime()).as(() -> "no " + file + ": " + job.errors() + job.said(0))
                    .isLessThan(deadline);
            Thread.sleep(10);
        }
    }
}
