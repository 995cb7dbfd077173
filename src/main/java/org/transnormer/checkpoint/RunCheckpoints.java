package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eclipse.collections.api.factory.Lists;
import org.eclipse.collections.api.factory.Sets;
import org.eclipse.collections.api.list.ImmutableList;
import org.eclipse.collections.api.list.MutableList;
import org.eclipse.collections.api.set.MutableSet;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;
import org.transnormer.launch.Gathering;

/**
 * The checkpoints of a run: folders {@code step-00001000}, each complete or not there. The newest is found by looking, so
 * no link can point to the wrong one. SPEC section 6.3.
 */
public final class RunCheckpoints {
    private static final Pattern NAME = Pattern.compile("step-(\\d{8,18})");

    private final Path folder;
    private final int keep;

    /** A complete checkpoint. */
    public record Found(long step, Path path) {
    }

    /**
     * @param folder of the checkpoints; made by the first save
     * @param keep how many of the newest to keep, at least 1
     */
    public RunCheckpoints(Path folder, int keep) {
        if (keep < 1) {
            throw new IllegalArgumentException("at least 1 checkpoint must be kept, not " + keep);
        }
        this.folder = folder.toAbsolutePath().normalize();
        this.keep = keep;
    }

    /** Complete checkpoints by ascending step; changes nothing on the disk. */
    public ImmutableList<Found> complete() {
        return names().collect(RunCheckpoints::find).select(Objects::nonNull).toSortedListBy(Found::step).toImmutable();
    }

    /**
     * The complete checkpoint of the highest step. A run that goes on from an earlier one belongs into a folder of its
     * own: here the later one would stay the latest.
     */
    public Optional<Path> latest() {
        return Optional.ofNullable(complete().getLast()).map(Found::path);
    }

    /** What is wrong with each folder that bears the name of a checkpoint and is none; a sentence each. */
    public ImmutableList<String> damaged() {
        MutableList<String> messages = Lists.mutable.empty();
        for (Path name : names().select(Files::exists).toSortedList()) {
            try {
                RunCheckpoint.checkComplete(name);
            } catch (InputException e) {
                messages.add(e.getMessage());
            }
        }
        return messages.toImmutable();
    }

    /**
     * Writes a checkpoint, then removes the oldest beyond those kept. What earlier processes left half done is cleaned
     * first. A checkpoint of the same step is replaced. All processes of the run call this, each with its parts.
     *
     * @param model writes configuration and weights
     * @param optimizer master weights and moments, under names of the caller's choice, saved in their own types
     * @param others writes what else belongs there, such as the tokenizer's files
     * @return its folder
     * @throws EnvironmentException if it cannot be written; all earlier ones still stand
     */
    public Path save(Gathering ranks, RunState state, HuggingFaceWriter model, Iterable<Part> optimizer,
            AtomicFiles.Body<Path> others) {
        TensorFiles moments = new TensorFiles(optimizer, Part::dtype, Map.of(), model.files().limit(),
                RunCheckpoint::optimizerFile);
        Path path = folder.resolve("step-%08d".formatted(state.step()));
        SharedFolder.first(ranks, "the folder of checkpoints", this::prepare);
        AtomicFiles.replaceFolder(ranks, path, model.bytes() + moments.bytes(),
                new Saving(ranks, state, model, moments, others));
        SharedFolder.first(ranks, "the checkpoints kept", () -> {
            for (Found old : complete().reject(found -> found.path().equals(path)).toReversed().drop(keep - 1)) {
                AtomicFiles.delete(old.path());
            }
        });
        return path;
    }

    private void prepare() {
        try {
            Files.createDirectories(folder);
            for (Path name : names()) {
                AtomicFiles.sweep(name);
            }
        } catch (IOException e) {
            throw new EnvironmentException(folder + ": cannot be written: " + InputFiles.reason(e),
                    "check its permissions", e);
        }
    }

    /** A checkpoint being written by all processes. */
    private static final class Saving implements AtomicFiles.Filling {
        private final Gathering ranks;
        private final RunState state;
        private final HuggingFaceWriter model;
        private final TensorFiles moments;
        private final AtomicFiles.Body<Path> others;
        private final List<String> files = new ArrayList<>();
        /** Fingerprints of the files: what this process adds to them, and at the end what all do. */
        private final long[] sums;

        Saving(Gathering ranks, RunState state, HuggingFaceWriter model, TensorFiles moments,
                AtomicFiles.Body<Path> others) {
            this.ranks = ranks;
            this.state = state;
            this.model = model;
            this.moments = moments;
            this.others = others;
            files.addAll(model.files().names());
            files.addAll(moments.names());
            sums = new long[files.size()];
        }

        @Override
        public void make(Path temp) throws IOException {
            add(model.create(temp), moments.create(temp));
            others.write(temp);
        }

        @Override
        public void fill(Path temp) throws IOException {
            add(model.files().fill(ranks, temp), moments.fill(ranks, temp));
        }

        private void add(long[] ofModel, long[] ofMoments) {
            for (int i = 0; i < sums.length; i++) {
                sums[i] += i < ofModel.length ? ofModel[i] : ofMoments[i - ofModel.length];
            }
        }

        @Override
        public void meet() {
            System.arraycopy(SharedFolder.sum(ranks, "fingerprints", sums), 0, sums, 0, sums.length);
        }

        @Override
        public void finish(Path temp) throws IOException {
            Map<String, Object> fingerprints = new TreeMap<>();
            for (int i = 0; i < sums.length; i++) {
                fingerprints.put(files.get(i), RunCheckpoint.hex(sums[i]));
            }
            state.write(temp, RunCheckpoint.sizes(temp), fingerprints);
        }
    }

    /** The complete checkpoint of a name, or null: not there, or no longer what was written. */
    private static Found find(Path name) {
        try {
            Path path = AtomicFiles.complete(name);
            return path == null ? null : new Found(RunCheckpoint.checkComplete(path).state().step(), path);
        } catch (InputException | IOException e) {
            return null;
        }
    }

    /** Every checkpoint name that anything in the folder bears or is a leftover of. */
    private MutableSet<Path> names() {
        MutableSet<Path> names = Sets.mutable.empty();
        if (Files.isDirectory(folder)) {
            try (Stream<Path> all = Files.list(folder)) {
                all.map(AtomicFiles::owner).filter(path -> NAME.matcher(path.getFileName().toString()).matches())
                        .forEach(names::add);
            } catch (IOException e) {
                throw InputFiles.unreadable(folder, e);
            }
        }
        return names;
    }
}
