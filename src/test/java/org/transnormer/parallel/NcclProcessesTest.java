package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import net.jqwik.api.Example;
import net.jqwik.api.Tag;
import org.transnormer.EnvironmentException;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.NcclId;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.GpuRanks;
import org.transnormer.testing.Place;
import org.transnormer.testing.TestTensors;

/** Ranks that are processes: they find each other, and learn of one that is gone, or takes another's GPU. */
@Tag("gpus")
class NcclProcessesTest {
    private static final Duration LIMIT = Duration.ofSeconds(100);
    private static final int ROUNDS = 20;

    /** What a rank does behind an all-reduce. */
    private enum Then {
        END, DIE_IN_RANK_1, ABORT_IN_RANK_0, TAKE_THE_SAME_GPU, SUM_BESIDE, SUM_BESIDE_AND_DIE_IN_RANK_1,
        SUM_BESIDE_AND_ABORT_IN_RANK_0;

        boolean sumsBeside() {
            return ordinal() >= SUM_BESIDE.ordinal();
        }
    }

    private record Rank(Process process, Path output) {
        String end() throws IOException, InterruptedException {
            if (!process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor();
            }
            return Files.readString(output);
        }
    }

    @Example
    void processesAddUp() throws IOException, InterruptedException {
        assertThat(outputs(Then.END)).allSatisfy(output -> assertThat(output).contains("sum 3.0"));
    }

    /** A process that dies is not waited for for ever: NCCL says so, or whoever watches aborts. */
    @Example
    void theDeathOfARankIsAnErrorOfTheOthers() throws IOException, InterruptedException {
        assertThat(outputs(Then.DIE_IN_RANK_1).getFirst()).contains("sum 3.0")
                .containsAnyOf("collective: ncclRemoteError (6)", "collective: ncclSystemError (2)", "aborted");
    }

    @Example
    void anAbortEndsTheWaitForARankThatDoesNotCome() throws IOException, InterruptedException {
        assertThat(outputs(Then.ABORT_IN_RANK_0).getFirst()).contains("sum 3.0", "NcclComm was aborted");
    }

    @Example
    void twoRanksOnOneGpuAreRefused() throws IOException, InterruptedException {
        assertThat(outputs(Then.TAKE_THE_SAME_GPU)).anySatisfy(output -> assertThat(output).contains(
                "ncclCommInitRank(rank ", "ncclInvalidUsage (5)", "every rank needs a GPU of its own"));
    }

    @Example
    void processesSumByCopies() throws IOException, InterruptedException {
        assertThat(outputs(Then.SUM_BESIDE)).allSatisfy(output -> assertThat(output)
                .contains("sums by copies between GPUs", "beside 24.0", "closed"));
    }

    /** The emulator can keep GPUs from reaching each other. */
    @Example
    void processesThatDoNotReachEachOtherSumByNccl() throws IOException, InterruptedException {
        assumeTrue(System.getenv("TNL_EMULATED_GPUS") != null);
        assertThat(outputs(Then.SUM_BESIDE, "TNL_EMULATED_PEERS", "1")).allSatisfy(output -> assertThat(output)
                .contains("sums by NCCL: rank 1 cannot reach the memory of rank 0, status 217 of the driver",
                        "beside 24.0", "closed"));
    }

    @Example
    void aRankThatDiedIsNotWaitedForAtTheEnd() throws IOException, InterruptedException {
        assertThat(outputs(Then.SUM_BESIDE_AND_DIE_IN_RANK_1).getFirst()).contains("beside 24.0", "closed");
    }

    @Example
    void anAbortEndsASumByCopies() throws IOException, InterruptedException {
        assertThat(outputs(Then.SUM_BESIDE_AND_ABORT_IN_RANK_0)).allSatisfy(output -> assertThat(output)
                .contains("beside 24.0", "closed"));
    }

    /** @param environment name and value of a variable, if there is one */
    private static List<String> outputs(Then then, String... environment) throws IOException, InterruptedException {
        GpuRanks.require(2);
        Path folder = Files.createTempDirectory("ranks");
        try {
            List<Rank> ranks = new ArrayList<>();
            for (int rank = 0; rank < 2; rank++) {
                ranks.add(start(folder, rank, then, environment));
            }
            List<String> outputs = new ArrayList<>();
            for (Rank rank : ranks) {
                outputs.add(rank.end());
            }
            return outputs;
        } finally {
            try (var files = Files.list(folder)) {
                for (Path file : files.toList()) {
                    Files.delete(file);
                }
            }
            Files.delete(folder);
        }
    }

    private static Rank start(Path folder, int rank, Then then, String... environment) throws IOException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC", "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-cp",
                System.getProperty("java.class.path")));
        for (String property : List.of("tnl.cuda.path", "tnl.cache")) {
            if (System.getProperty(property) != null) {
                command.add(1, "-D" + property + "=" + System.getProperty(property));
            }
        }
        command.addAll(List.of(NcclProcessesTest.class.getName(), folder.toString(), Integer.toString(rank),
                then.name()));
        Path output = folder.resolve("output" + rank);
        ProcessBuilder process = new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(output.toFile());
        if (environment.length > 0) {
            process.environment().put(environment[0], environment[1]);
        }
        return new Rank(process.start(), output);
    }

    /** A rank: the folder where the id is, its number, what it does. */
    public static void main(String[] args) {
        int rank = Integer.parseInt(args[1]);
        Then then = Then.valueOf(args[2]);
        try (Gpu gpu = Gpu.open(then == Then.TAKE_THE_SAME_GPU ? 0 : rank)) {
            Nccl ranks = Nccl.join(gpu, id(Path.of(args[0], "id"), rank), rank, 2);
            Place place = Place.on(gpu);
            Tensor x = TestTensors.numbers(0);
            for (int i = 0; i < ROUNDS; i++) {
                x.set(0, rank + 1);
                place.use(x, ranks::allReduceSum);
            }
            System.out.println("sum " + x.get(0));
            System.out.flush();
            if (then.sumsBeside()) {
                sumBeside(ranks, place, rank, then);
            } else {
                go(ranks, place, x, rank, then);
            }
        } catch (EnvironmentException | IllegalStateException e) {
            System.out.println(e.getMessage());
        }
        System.out.println("closed");
    }

    private static void sumBeside(Nccl ranks, Place place, int rank, Then then) {
        Nccl beside = ranks.beside();
        System.out.println("sums " + ranks.sumsBeside().orElseThrow());
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor x = tensors.zeros("x", DType.BF16, 3 << 20);
            x.fill(rank + 1);
            place.use(x, at -> sum(beside, at, 4));
            System.out.println("beside " + x.get(x.size() - 1));
            System.out.flush();
            if (rank == 1 && then == Then.SUM_BESIDE_AND_DIE_IN_RANK_1) {
                Runtime.getRuntime().halt(7);
            }
            if (then == Then.SUM_BESIDE_AND_ABORT_IN_RANK_0) {
                if (rank == 0) {
                    Thread.ofPlatform().daemon().start(() -> {
                        sleep(Duration.ofSeconds(1));
                        beside.abort();
                    });
                    place.use(x, at -> sum(beside, at, 1));
                } else {
                    sleep(Duration.ofSeconds(4));
                }
            }
        }
    }

    private static void sum(Nccl beside, Tensor x, int times) {
        beside.collectivesAwaitCompute();
        for (int i = 0; i < times; i++) {
            beside.allReduceSum(x);
        }
        beside.computeAwaitsCollectives();
    }

    private static void go(Nccl ranks, Place place, Tensor x, int rank, Then then) {
        if (rank == 1) {
            if (then == Then.DIE_IN_RANK_1) {
                Runtime.getRuntime().halt(7);
            } else if (then == Then.ABORT_IN_RANK_0) {
                sleep(Duration.ofSeconds(4));
            }
            return;
        }
        if (then == Then.DIE_IN_RANK_1 || then == Then.ABORT_IN_RANK_0) {
            // Real NCCL may wait for a dead process of the same machine until it is told.
            Thread.ofPlatform().daemon().start(() -> {
                sleep(Duration.ofSeconds(then == Then.ABORT_IN_RANK_0 ? 1 : 20));
                ranks.abort();
            });
            place.use(x, ranks::allReduceSum);
            ranks.check();
        }
    }

    private static void sleep(Duration time) {
        try {
            Thread.sleep(time);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Rank 0 makes it. */
    private static NcclId id(Path file, int rank) {
        try {
            if (rank == 0) {
                NcclId id = NcclId.create();
                Files.move(Files.write(file.resolveSibling("making"), id.bytes()), file,
                        StandardCopyOption.ATOMIC_MOVE);
                return id;
            }
            for (long end = System.nanoTime() + LIMIT.toNanos(); !Files.exists(file);) {
                if (System.nanoTime() > end) {
                    throw new IllegalStateException("no id came");
                }
                sleep(Duration.ofMillis(10));
            }
            return NcclId.of(Files.readAllBytes(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
