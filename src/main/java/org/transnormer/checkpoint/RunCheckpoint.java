package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.eclipse.collections.api.set.MutableSet;
import org.transnormer.InputException;
import org.transnormer.tensor.Tensor;

/**
 * One checkpoint of a run, open for reading: a model folder that {@code generate} and {@code eval} take as it is, plus
 * {@code optimizer.safetensors} and {@code state.json}. SPEC section 6.3.
 */
public final class RunCheckpoint implements AutoCloseable {
    static final String OPTIMIZER = "optimizer.safetensors";
    private static final String CURE = "resume from an earlier checkpoint";

    private final RunState state;
    private final HuggingFace model;
    private final Safetensors optimizer;

    private RunCheckpoint(RunState state, HuggingFace model, Safetensors optimizer) {
        this.state = state;
        this.model = model;
        this.optimizer = optimizer;
    }

    /**
     * Opens a checkpoint.
     *
     * @throws InputException if it is not complete or a file is damaged
     */
    public static RunCheckpoint open(Path folder) {
        RunState state = checkComplete(folder);
        HuggingFace model = HuggingFace.open(folder);
        try {
            return new RunCheckpoint(state, model, Safetensors.open(folder.resolve(OPTIMIZER)));
        } catch (RuntimeException e) {
            model.close();
            throw e;
        }
    }

    public RunState state() {
        return state;
    }

    public HuggingFace model() {
        return model;
    }

    /**
     * Fills the optimizer's tensors from those of the same names.
     *
     * @throws InputException if names or shapes are not the same
     */
    public void readOptimizer(Iterable<Tensor> tensors) {
        MutableSet<String> left = optimizer.names().toSet();
        for (Tensor tensor : tensors) {
            optimizer.readInto(tensor.name(), tensor);
            left.remove(tensor.name());
        }
        if (left.notEmpty()) {
            throw InputFiles.bad(optimizer.file(), "holds %d tensors that this optimizer does not have, such as %s"
                    .formatted(left.size(), InputFiles.quoted(left.min())), "resume with the options it was made with");
        }
    }

    @Override
    public void close() {
        model.close();
        optimizer.close();
    }

    /** Whether the files of a folder are those that were written, by name and size; returns the state. */
    static RunState checkComplete(Path folder) {
        RunState.Stored stored = RunState.read(folder);
        for (Map.Entry<String, Object> entry : stored.files().entrySet()) {
            Path file = folder.resolve(entry.getKey());
            long size = Files.exists(file) ? InputFiles.size(file) : -1;
            if (!Long.valueOf(size).equals(entry.getValue())) {
                throw InputFiles.bad(file, size < 0 ? "is missing from its checkpoint"
                        : "has %,d bytes, %,d were written".formatted(size, entry.getValue()), CURE);
            }
        }
        return stored.state();
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
