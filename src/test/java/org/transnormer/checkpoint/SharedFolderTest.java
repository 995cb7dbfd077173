package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;
import org.transnormer.launch.Gathering;
import org.transnormer.parallel.InProcess;
import org.transnormer.parallel.RankException;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.ThreadsGathering;

/** Several ranks write a checkpoint together, and one of them fails, or is gone, at any moment. SPEC section 6.3. */
class SharedFolderTest {
    private static final Duration TIMEOUT = Duration.ofSeconds(30);
    private static final int RANKS = 3;
    private static final TinyModel MODEL = TinyModel.SMALL;

    @TempDir
    Path temp;
    private Path folder;

    @BeforeEach
    void begin() throws IOException {
        folder = Files.createDirectory(temp.resolve("run"));
    }

    private static void ranks(Consumer<Gathering> body) {
        InProcess.run(RANKS, TIMEOUT, world -> body.accept(new ThreadsGathering(world)));
    }

    /** Each rank has a third of every tensor, all elements of which are the step, or minus it. */
    private static List<Part> parts(HostMemory memory, Gathering ranks, String prefix, double value) {
        return MODEL.tensors(memory, prefix).stream().map(t -> {
            long from = t.size() * ranks.rank() / RANKS;
            long to = t.size() * (ranks.rank() + 1) / RANKS;
            Tensor values = t.reshape(t.size()).slice(0, from, to);
            values.fill(value);
            return new Part(t.name(), t.dtype(), t.shape(), values, new Part.Places() {
                @Override
                public long of(long i) {
                    return from + i;
                }

                @Override
                public long runFrom(long i) {
                    return 3;
                }
            });
        }).toList();
    }

    private Path save(Gathering ranks, long step, AtomicFiles.Body<Path> others) {
        try (HostMemory memory = new HostMemory()) {
            return new RunCheckpoints(folder, 2).save(ranks,
                    new RunState(step, 0, 0, "", Map.of(), Map.of(), Map.of(), Map.of()),
                    new HuggingFaceWriter(MODEL.config(), parts(memory, ranks, "", step), DType.BF16, 200),
                    parts(memory, ranks, "m.", -step), others);
        }
    }

    /** The step of the latest checkpoint, which must be whole. */
    private long latest() {
        assertThat(new RunCheckpoints(folder, 2).damaged()).isEmpty();
        Path latest = new RunCheckpoints(folder, 2).latest().orElseThrow();
        long[] step = {0};
        ranks(ranks -> {
            try (HostMemory memory = new HostMemory(); RunCheckpoint back = RunCheckpoint.open(latest)) {
                back.verify(ranks);
                List<Part> weights = parts(memory, ranks, "", Double.NaN);
                List<Part> moments = parts(memory, ranks, "m.", Double.NaN);
                back.model().readInto(weights);
                back.readOptimizer(moments);
                weights.forEach(w -> assertAll(w, back.state().step()));
                moments.forEach(m -> assertAll(m, -back.state().step()));
                step[0] = back.state().step();
            }
        });
        return step[0];
    }

    private static void assertAll(Part part, double value) {
        assertThat(LongStream.range(0, part.values().size()).mapToDouble(part.values()::get)).as(part.name())
                .allMatch(x -> x == value);
    }

    /** A rank that is gone when it would meet the others for the n-th time. */
    private record Gone(Gathering ranks, int who, int[] left) implements Gathering {
        @Override
        public int size() {
            return ranks.size();
        }

        @Override
        public int rank() {
            return ranks.rank();
        }

        @Override
        public List<byte[]> gather(String what, byte[] mine) {
            if (rank() == who && left[0]-- == 0) {
                throw new Error("gone before " + what);
            }
            return ranks.gather(what, mine);
        }
    }

    @Test
    void aRankThatIsGoneAtAnyMomentLeavesTheLastCheckpointWhole() throws IOException {
        ranks(ranks -> save(ranks, 1, path -> {}));
        long step = 1;
        for (int who : new int[] {0, 2}) {
            boolean saved = false;
            for (int meeting = 0; !saved; meeting++) {
                long next = step + 1;
                int at = meeting;
                try {
                    ranks(ranks -> save(new Gone(ranks, who, new int[] {at}), next, path -> {}));
                    saved = true;
                } catch (RankException e) {
                    assertThat(e.rank()).isEqualTo(who);
                    assertThat(latest()).as("rank %d gone at its meeting %d", who, meeting).isBetween(step, next);
                }
            }
            step++;
            assertThat(latest()).isEqualTo(step);
        }
        try (Stream<Path> all = Files.list(folder)) {
            assertThat(all).as("nothing half done is left").hasSize(2);
        }
    }

    /** All say the same, and what rank 0 had begun is gone. */
    @Test
    void whatOneRankCannotWriteNoRankHasWritten() throws IOException {
        ranks(ranks -> save(ranks, 1, path -> {}));
        Map<Integer, String> said = new ConcurrentHashMap<>();
        ranks(ranks -> {
            try {
                AtomicFiles.replaceFolder(ranks, folder.resolve("step-00000002"), 10, new AtomicFiles.Filling() {
                    @Override
                    public void make(Path to) throws IOException {
                        Files.writeString(to.resolve("file"), "half");
                    }

                    @Override
                    public void fill(Path to) throws IOException {
                        assertThat(to.resolve("file")).hasContent("half");
                        if (ranks.rank() == 1) {
                            throw new IOException("No space left on device");
                        }
                    }
                });
            } catch (EnvironmentException e) {
                said.put(ranks.rank(), e.getMessage());
            }
        });
        assertThat(said).hasSize(RANKS);
        said.forEach((rank, text) -> assertThat(text).startsWith(rank == 1 ? folder.toString() : "rank 1: " + folder)
                .contains("step-00000002: cannot be written: No space left on device"));
        assertThat(latest()).isEqualTo(1);
        try (Stream<Path> all = Files.list(folder)) {
            assertThat(all).hasSize(1);
        }
    }

    @Test
    void aFileOfAnotherCheckpointIsNamed() throws IOException {
        ranks(ranks -> save(ranks, 1, path -> {}));
        ranks(ranks -> save(ranks, 2, path -> {}));
        for (String name : List.of("model-00002-of-", "optimizer-00003-of-")) {
            Path file;
            try (Stream<Path> all = Files.list(folder.resolve("step-00000002"))) {
                file = all.filter(path -> path.getFileName().toString().startsWith(name)).findFirst().orElseThrow();
            }
            byte[] good = Files.readAllBytes(file);
            Files.write(file, Files.readAllBytes(folder.resolve("step-00000001").resolve(file.getFileName())));
            refused(file);
            byte[] hole = good.clone();
            Arrays.fill(hole, good.length - 20, good.length, (byte) 0);
            Files.write(file, hole);
            refused(file);
            Files.write(file, good);
        }
        assertThat(latest()).isEqualTo(2);
    }

    private void refused(Path file) {
        Map<Integer, String> said = new ConcurrentHashMap<>();
        ranks(ranks -> {
            try (RunCheckpoint back = RunCheckpoint.open(file.getParent())) {
                assertThatThrownBy(() -> back.verify(ranks)).isInstanceOf(InputException.class)
                        .satisfies(e -> said.put(ranks.rank(), e.getMessage()));
            }
        });
        assertThat(said).hasSize(RANKS).allSatisfy((rank, text) -> assertThat(text)
                .startsWith(file + ": does not hold what was written into this checkpoint")
                .endsWith("; move the checkpoint away to resume from the one before"));
    }

    /** What checkpoints of earlier versions lack. */
    @Test
    void aCheckpointWithoutFingerprintsIsRead() throws IOException {
        ranks(ranks -> save(ranks, 1, path -> {}));
        Path state = folder.resolve("step-00000001/state.json");
        String text = Files.readString(state);
        Files.writeString(state, text.replaceAll("(?s),\\s*\"fingerprints\" : \\{[^}]*}", ""));
        assertThat(Files.readString(state)).doesNotContain("fingerprints").isNotEqualTo(text);
        assertThat(latest()).isEqualTo(1);
    }

    @Test
    void aFolderThatAllShareIsFoundAndLeftAsItWas() throws IOException {
        ranks(ranks -> SharedFolder.check(ranks, folder));
        assertThat(folder).isEmptyDirectory();
    }

    @Test
    void aFolderThatIsNotSharedIsRefused() throws IOException {
        for (int who : new int[] {0, 2}) {
            int other = who;
            Path elsewhere = temp.resolve("elsewhere-" + who);
            Map<Integer, String> said = new ConcurrentHashMap<>();
            ranks(ranks -> {
                try {
                    SharedFolder.check(ranks, ranks.rank() == other ? elsewhere : folder);
                } catch (EnvironmentException e) {
                    said.put(ranks.rank(), e.getMessage());
                }
            });
            assertThat(said).as("no such folder on rank " + who).hasSize(RANKS);
            assertThat(said.get(0)).contains(elsewhere + ": cannot be written");
            Files.createDirectory(elsewhere);
            said.clear();
            ranks(ranks -> {
                try {
                    SharedFolder.check(ranks, ranks.rank() == other ? elsewhere : folder);
                } catch (EnvironmentException e) {
                    said.put(ranks.rank(), e.getMessage());
                }
            });
            assertThat(said).as("another folder on rank " + who).hasSize(RANKS);
            assertThat(said.get(0)).contains("is not the folder that rank", "under this name", "file system that all");
            assertThat(folder).isEmptyDirectory();
            assertThat(elsewhere).isEmptyDirectory();
        }
    }
}
