package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;
import org.transnormer.launch.Job;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

class RunCheckpointsTest {
    private static final TinyModel SMALL = TinyModel.SMALL;

    @TempDir
    Path run;
    private Path folder;
    private RunCheckpoints checkpoints;
    private final TestTensors memory = new TestTensors(3);
    private final List<Tensor> weights = SMALL.tensors(memory, DType.F32, false);
    private final List<Tensor> moments = new ArrayList<>();

    @BeforeEach
    void start() {
        folder = run.resolve("checkpoints");
        checkpoints = new RunCheckpoints(folder, 2);
        for (Tensor w : weights) {
            moments.add(memory.copy(w, DType.F32).named("m." + w.name()));
        }
    }

    @AfterEach
    void free() {
        memory.close();
    }

    private static RunState state(long step) {
        return new RunState(step, step * 1000, -42, SMALL.config().digest(),
                Map.of("shard", "a", "position", Long.MAX_VALUE), Map.of("peak", 1.0 / 3, "warmup", List.of(1L, 2L)),
                Map.of(), Map.of("tnl", "0.1.0"));
    }

    private Path save(long step) {
        weights.forEach(w -> w.fill(step));
        moments.forEach(m -> m.fill(-step));
        return checkpoints.save(Job.alone(), state(step),
                new HuggingFaceWriter(SMALL.config(), Part.wholes(weights), DType.F32, HuggingFaceWriter.SHARD_BYTES),
                Part.wholes(moments),
                temp -> Files.writeString(temp.resolve("tokenizer.json"), "{}"));
    }

    private List<String> names() throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.map(p -> p.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void everythingComesBack() throws IOException {
        Path path = save(17);
        assertThat(path).isEqualTo(folder.resolve("step-00000017"));
        try (RunCheckpoint back = RunCheckpoint.open(path)) {
            assertThat(back.state()).isEqualTo(state(17));
            weights.forEach(w -> w.fill(0));
            moments.forEach(m -> m.fill(0));
            back.model().readInto(Part.wholes(weights));
            back.readOptimizer(Part.wholes(moments));
            assertThat(weights).allSatisfy(w -> assertThat(w.getFlat(w.size() - 1)).isEqualTo(17));
            assertThat(moments).allSatisfy(m -> assertThat(m.getFlat(m.size() - 1)).isEqualTo(-17));
        }
        try (HuggingFace model = HuggingFace.open(path)) {
            assertThat(model.names()).hasSize(weights.size());
        }
    }

    @Test
    void newestAreKeptAndLatestIsFound() throws IOException {
        assertThat(checkpoints.latest()).isEmpty();
        for (long step : new long[] {5, 100_000_000L, 20}) {
            save(step);
        }
        assertThat(checkpoints.latest()).contains(folder.resolve("step-100000000"));
        assertThat(names()).containsExactly("step-00000020", "step-100000000");
        save(30);
        assertThat(names()).containsExactly("step-00000030", "step-100000000");
    }

    @Test
    void sameStepIsReplaced() {
        save(5);
        Path again = save(5);
        assertThat(checkpoints.complete()).containsExactly(new RunCheckpoints.Found(5, again));
    }

    @Test
    void halfWrittenFoldersAreIgnoredAndThenCleaned() throws IOException {
        save(5);
        String dead = "99999999";
        Path half = Files.createDirectories(folder.resolve("step-00000006.tmp-" + dead));
        Files.writeString(half.resolve("state.json"), "{");
        Path doomed = Files.createDirectories(folder.resolve("step-00000001.old-" + dead));
        Files.writeString(folder.resolve("notes.txt"), "mine");
        Files.createDirectories(folder.resolve("step-7"));
        assertThat(checkpoints.latest()).contains(folder.resolve("step-00000005"));
        Files.delete(doomed);
        save(8);
        assertThat(names()).containsExactly("notes.txt", "step-00000005", "step-00000008", "step-7");
    }

    /** A process killed between the two renames of a replacement must not have lost the checkpoint. */
    @Test
    void checkpointSteppedAsideCounts() throws IOException {
        Path aside = folder.resolve("step-00000005.old-99999999");
        Files.move(save(5), aside);
        assertThat(checkpoints.latest()).contains(aside);
        save(6);
        assertThat(names()).containsExactly("step-00000005", "step-00000006");
    }

    @Test
    void incompleteCopyIsNotTheLatest() throws IOException {
        Path first = save(5);
        Path second = save(6);
        Path weightFile = second.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weightFile);
        Files.write(weightFile, Arrays.copyOf(bytes, bytes.length - 1));
        assertThat(checkpoints.latest()).contains(first);
        assertThat(checkpoints.damaged()).singleElement().asString()
                .startsWith(weightFile + ": has %,d bytes, %,d were written".formatted(bytes.length - 1, bytes.length));
        Files.delete(weightFile);
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> RunCheckpoint.open(second))
                .withMessageContaining("model.safetensors: is missing from its checkpoint");
        Files.delete(second.resolve("state.json"));
        assertThat(checkpoints.damaged()).singleElement().asString().contains("state.json: does not exist");
        save(7);
        assertThat(names()).containsExactly("step-00000005", "step-00000006", "step-00000007");
    }

    @Test
    void foreignStateIsRefused() throws IOException {
        Path state = save(5).resolve("state.json");
        String good = Files.readString(state);
        for (String[] change : new String[][] {{"\"format\" : 1", "\"format\" : 2", "this program reads 1"},
            {"\"step\" : 5", "\"step\" : \"5\"", "no whole number \"step\""},
            {"\"random\" : { }", "\"random\" : 7", "no object \"random\""},
            {"\"config_digest\"", "\"digest\"", "no \"config_digest\""}}) {
            assertThat(good).contains(change[0]);
            Files.writeString(state, good.replace(change[0], change[1]));
            assertThatExceptionOfType(InputException.class).isThrownBy(() -> RunCheckpoint.open(state.getParent()))
                    .withMessageContaining(change[2]);
        }
    }

    @Test
    void optimizerOfAnotherKindIsRefused() {
        try (RunCheckpoint back = RunCheckpoint.open(save(5))) {
            assertThatExceptionOfType(InputException.class)
                    .isThrownBy(() -> back.readOptimizer(Part.wholes(moments.subList(1, moments.size()))))
                    .withMessageContaining("holds 1 tensors").withMessageContaining("\"m.model.embed_tokens.weight\"");
            assertThatExceptionOfType(InputException.class).isThrownBy(() -> back.readOptimizer(Part.wholes(weights)))
                    .withMessageContaining("has no tensor \"model.embed_tokens.weight\"");
        }
    }

    @Test
    void failedSaveLeavesTheEarlierOnes() throws IOException {
        save(5);
        assertThatExceptionOfType(EnvironmentException.class).isThrownBy(() -> checkpoints.save(Job.alone(), state(6),
                new HuggingFaceWriter(SMALL.config(), Part.wholes(weights), DType.F32, 1), Part.wholes(moments),
                temp -> {
                    throw new IOException("No space left on device");
                })).withMessageContaining("No space left on device");
        assertThat(names()).containsExactly("step-00000005");
    }
}
