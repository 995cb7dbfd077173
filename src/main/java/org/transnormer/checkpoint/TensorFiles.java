package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import org.transnormer.launch.Gathering;
import org.transnormer.tensor.DType;

/**
 * Tensors spread over safetensors files, in the given order: a file holds no more than a limit, but at least one tensor.
 * The cut depends on the tensors alone, never on which process has what of them. SPEC section 6.2.
 */
final class TensorFiles {
    private final List<Part> parts = new ArrayList<>();
    private final Function<Part, DType> types;
    private final long limit;
    private final SafetensorsWriter[] writers;
    private final String[] names;
    private final Map<String, Object> map = new TreeMap<>();

    /** Name of file {@code i} of n, counted from 1. */
    @FunctionalInterface
    interface Naming {
        String of(int i, int n);
    }

    /**
     * @param types type of each tensor in the files
     * @param metadata of each file
     * @param limit bytes of a file's tensors
     */
    TensorFiles(Iterable<Part> tensors, Function<Part, DType> types, Map<String, String> metadata, long limit,
            Naming naming) {
        this.types = types;
        this.limit = limit;
        tensors.forEach(parts::add);
        List<SafetensorsWriter> all = new ArrayList<>();
        List<Integer> fileOf = new ArrayList<>();
        long free = 0;
        for (Part part : parts) {
            if (all.isEmpty() || bytes(part) > free) {
                SafetensorsWriter writer = new SafetensorsWriter();
                metadata.forEach(writer::metadata);
                all.add(writer);
                free = limit;
            }
            all.getLast().add(part, types.apply(part));
            fileOf.add(all.size());
            free -= bytes(part);
        }
        writers = all.toArray(SafetensorsWriter[]::new);
        names = new String[writers.length];
        for (int i = 0; i < names.length; i++) {
            names[i] = naming.of(i + 1, names.length);
        }
        for (int i = 0; i < parts.size(); i++) {
            map.put(parts.get(i).name(), names[fileOf.get(i) - 1]);
        }
    }

    /** Bytes of a file's tensors, if it holds more than one. */
    long limit() {
        return limit;
    }

    /** Names of the files. */
    List<String> names() {
        return List.of(names);
    }

    /** File of each tensor. */
    Map<String, Object> map() {
        return map;
    }

    /** Bytes of all tensors in the files. */
    long bytes() {
        return parts.stream().mapToLong(this::bytes).sum();
    }

    private long bytes(Part part) {
        return part.size() * types.apply(part).bytes();
    }

    /**
     * Makes the files, for all processes to {@link #fill}; by one of them.
     *
     * @return what this adds to the fingerprint of each
     */
    long[] create(Path folder) throws IOException {
        long[] sums = new long[names.length];
        for (int i = 0; i < names.length; i++) {
            sums[i] = writers[i].create(folder.resolve(names[i]));
        }
        return sums;
    }

    /**
     * Writes what this process has into the files. Each process begins with another file, as far as there are enough.
     *
     * @return what this adds to the fingerprint of each
     */
    long[] fill(Gathering ranks, Path folder) throws IOException {
        long[] sums = new long[names.length];
        int first = (int) ((long) names.length * ranks.rank() / ranks.size());
        for (int turn = 0; turn < names.length; turn++) {
            int i = (first + turn) % names.length;
            sums[i] = writers[i].fill(folder.resolve(names[i]));
        }
        return sums;
    }
}
