package org.transnormer.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Pattern;
import org.eclipse.collections.api.factory.Lists;
import org.eclipse.collections.api.factory.Maps;
import org.eclipse.collections.api.list.ImmutableList;
import org.eclipse.collections.api.list.MutableList;
import org.eclipse.collections.api.map.MutableMap;
import org.transnormer.InputException;

/** The weights of a model folder: {@code model.safetensors}, or all the shards that its index names. */
final class WeightFiles implements AutoCloseable {
    private static final long LARGEST_INDEX = 64 << 20;
    /** A plain name: no separator, so nothing outside the folder. */
    private static final Pattern SHARD_NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.+ -]*");
    private static final String AGAIN = "download or copy the model again";

    private final Path folder;
    private final MutableList<Safetensors> files = Lists.mutable.empty();
    private final MutableMap<String, Safetensors> byName = Maps.mutable.empty();
    private final MutableList<String> notes = Lists.mutable.empty();

    private WeightFiles(Path folder) {
        this.folder = folder;
    }

    /** @throws InputException if a file is missing or damaged, or index and shards contradict each other */
    static WeightFiles open(Path folder) {
        WeightFiles weights = new WeightFiles(folder);
        try {
            weights.openAll();
            return weights;
        } catch (RuntimeException e) {
            weights.close();
            throw e;
        }
    }

    /** Sorted. */
    ImmutableList<String> names() {
        return byName.keysView().toSortedList().toImmutable();
    }

    boolean contains(String name) {
        return byName.containsKey(name);
    }

    /** The file that holds a tensor. */
    Safetensors holder(String name) {
        Safetensors holder = byName.get(name);
        if (holder == null) {
            throw InputFiles.bad(folder, "has no tensor " + InputFiles.quoted(name), AGAIN);
        }
        return holder;
    }

    MutableList<String> notes() {
        return notes;
    }

    @Override
    public void close() {
        files.forEach(Safetensors::close);
    }

    private void openAll() {
        Path single = folder.resolve(HfNames.WEIGHTS);
        Path index = folder.resolve(HfNames.INDEX);
        if (Files.exists(single)) {
            if (Files.exists(index)) {
                notes.add("%s is there too and not used: %s is".formatted(HfNames.INDEX, HfNames.WEIGHTS));
            }
            Safetensors whole = add(single);
            for (String name : whole.names()) {
                byName.put(name, whole);
            }
        } else if (Files.exists(index)) {
            openShards(index);
        } else {
            boolean pickled = Files.exists(folder.resolve("pytorch_model.bin"))
                    || Files.exists(folder.resolve("pytorch_model.bin.index.json"));
            throw InputFiles.bad(folder, "has neither %s nor %s".formatted(HfNames.WEIGHTS, HfNames.INDEX), pickled
                    ? "its pytorch_model.bin is not read: save the model with safe_serialization=True first" : AGAIN);
        }
    }

    private Safetensors add(Path file) {
        Safetensors opened = Safetensors.open(file);
        files.add(opened);
        return opened;
    }

    private void openShards(Path index) {
        Map<String, Object> root = Json.readObject(index, LARGEST_INDEX);
        if (!(root.get("weight_map") instanceof Map<?, ?> weightMap) || weightMap.isEmpty()) {
            throw InputFiles.bad(index, "has no \"weight_map\" of tensors to files", AGAIN);
        }
        MutableMap<String, String> wanted = Maps.mutable.empty();
        weightMap.forEach((name, file) -> wanted.put((String) name, shardName(index, (String) name, file)));
        ImmutableList<String> shards = wanted.toSet().toSortedList().toImmutable();
        ImmutableList<String> missing = shards.reject(file -> Files.exists(folder.resolve(file)));
        if (missing.notEmpty()) {
            throw InputFiles.bad(index, "names %d shards, %d are missing: %s".formatted(shards.size(), missing.size(),
                    missing.take(5).makeString(", ")), AGAIN);
        }
        for (String file : shards) {
            Safetensors shard = add(folder.resolve(file));
            for (String name : shard.names()) {
                if (!file.equals(wanted.get(name))) {
                    throw InputFiles.bad(shard.file(), "holds %s, which the index %s".formatted(InputFiles.quoted(name),
                            wanted.containsKey(name) ? "places in " + wanted.get(name) : "does not name"), AGAIN);
                }
                byName.put(name, shard);
            }
        }
        for (String name : wanted.keysView().toSortedList()) {
            if (!byName.containsKey(name)) {
                throw InputFiles.bad(index, "places %s in %s, which does not hold it".formatted(InputFiles.quoted(name),
                        wanted.get(name)), AGAIN);
            }
        }
        noteSize(root);
    }

    private static String shardName(Path index, String tensor, Object file) {
        if (file instanceof String name && SHARD_NAME.matcher(name).matches()) {
            return name;
        }
        throw InputFiles.bad(index, "places %s in %s, which is not the name of a file of this folder".formatted(
                InputFiles.quoted(tensor), InputFiles.quoted(String.valueOf(file))),
                "get the model from another source");
    }

    /** Writers count tied tensors differently, so a wrong sum proves nothing. */
    private void noteSize(Map<String, Object> root) {
        long bytes = files.sumOfLong(shard -> shard.entries().sumOfLong(e -> e.end() - e.begin()));
        if (root.get("metadata") instanceof Map<?, ?> metadata && metadata.get("total_size") instanceof Number total
                && total.longValue() != bytes) {
            notes.add("%s gives a total_size of %s, the shards hold %d".formatted(HfNames.INDEX, total, bytes));
        }
    }
}
