package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.transnormer.InputException;
import org.transnormer.launch.Gathering;

/**
 * One checkpoint of a run, open for reading: a model folder that {@code generate} and {@code eval} take as it is, plus
 * {@code optimizer.safetensors}, or several such files, and {@code state.json}. SPEC section 6.3.
 */
public final class RunCheckpoint implements AutoCloseable {
    private static final String CURE = "move the checkpoint away to resume from the one before";
    private static final Pattern OPTIMIZER = Pattern.compile("optimizer(-\\d+-of-\\d+)?\\.safetensors");

    private final Path folder;
    private final RunState.Stored stored;
    private final HuggingFace model;
    private final List<Safetensors> optimizer = new ArrayList<>();
    private final Map<String, Safetensors> holders = new HashMap<>();

    private RunCheckpoint(Path folder, RunState.Stored stored, HuggingFace model) {
        this.folder = folder;
        this.stored = stored;
        this.model = model;
    }

    /** Name of the optimizer's file {@code i} of n, counted from 1. */
    static String optimizerFile(int i, int n) {
        return n == 1 ? "optimizer.safetensors" : "optimizer-%05d-of-%05d.safetensors".formatted(i, n);
    }

    static String hex(long fingerprint) {
        return HexFormat.of().toHexDigits(fingerprint);
    }

    /**
     * Opens a checkpoint.
     *
     * @throws InputException if it is not complete or a file is damaged
     */
    public static RunCheckpoint open(Path folder) {
        RunState.Stored stored = checkComplete(folder);
        RunCheckpoint opened = new RunCheckpoint(folder, stored, HuggingFace.open(folder));
        try {
            opened.openOptimizer();
            return opened;
        } catch (RuntimeException e) {
            opened.close();
            throw e;
        }
    }

    private void openOptimizer() {
        for (String name : stored.files().keySet()) {
            if (OPTIMIZER.matcher(name).matches()) {
                Safetensors file = Safetensors.open(folder.resolve(name));
                optimizer.add(file);
                file.names().forEach(tensor -> holders.put(tensor, file));
            }
        }
        if (optimizer.isEmpty()) {
            throw InputFiles.bad(folder, "holds no state of the optimizer", CURE);
        }
    }

    public RunState state() {
        return stored.state();
    }

    public HuggingFace model() {
        return model;
    }

    /**
     * Compares the contents of the files with what was written. All processes call this, and each reads its share of the
     * bytes.
     *
     * @throws InputException in every process, if a file holds something else
     */
    public void verify(Gathering ranks) {
        List<String> names = List.copyOf(stored.fingerprints().keySet());
        long[] sums = new long[names.size()];
        SharedFolder.together(ranks, "a share of the files", () -> {
            for (int i = 0; i < sums.length; i++) {
                try (Safetensors file = Safetensors.open(folder.resolve(names.get(i)))) {
                    sums[i] = file.fingerprint(ranks.rank(), ranks.size());
                }
            }
        });
        long[] all = SharedFolder.sum(ranks, "fingerprints", sums);
        for (int i = 0; i < all.length; i++) {
            if (!hex(all[i]).equals(stored.fingerprints().get(names.get(i)))) {
                throw InputFiles.bad(folder.resolve(names.get(i)),
                        "does not hold what was written into this checkpoint: its fingerprint is %s, not %s".formatted(
                                hex(all[i]), stored.fingerprints().get(names.get(i))),
                        CURE);
            }
        }
    }

    /**
     * Fills what this process has of the optimizer's tensors from those of the same names.
     *
     * @throws InputException if names or shapes are not the same
     */
    public void readOptimizer(Iterable<Part> tensors) {
        Set<String> left = new TreeSet<>(holders.keySet());
        for (Part tensor : tensors) {
            holders.getOrDefault(tensor.name(), optimizer.getFirst()).readInto(tensor);
            left.remove(tensor.name());
        }
        if (!left.isEmpty()) {
            String name = left.iterator().next();
            throw InputFiles.bad(holders.get(name).file(),
                    "holds %d tensors that this optimizer does not have, such as %s".formatted(left.size(),
                            InputFiles.quoted(name)),
                    "resume with the options it was made with");
        }
    }

    @Override
    public void close() {
        model.close();
        optimizer.forEach(Safetensors::close);
    }

    /** Whether the files of a folder are those that were written, by name and size; returns the state. */
    static RunState.Stored checkComplete(Path folder) {
        RunState.Stored stored = RunState.read(folder);
        for (Map.Entry<String, Object> entry : stored.files().entrySet()) {
            Path file = folder.resolve(entry.getKey());
            long size = Files.exists(file) ? InputFiles.size(file) : -1;
            if (!Long.valueOf(size).equals(entry.getValue())) {
                throw InputFiles.bad(file, size < 0 ? "is missing from its checkpoint"
                        : "has %,d bytes, %,d were written".formatted(size, entry.getValue()), CURE);
            }
        }
        return stored;
    }

    /** Names and sizes of the files of a folder that is being made. */
    static Map<String, Object> sizes(Path folder) throws IOException {
        Map<String, Object> sizes = new TreeMap<>();
        try (Stream<Path> all = Files.list(folder)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                sizes.put(file.getFileName().toString(), Files.size(file));
            }
        }
        return sizes;
    }
}
