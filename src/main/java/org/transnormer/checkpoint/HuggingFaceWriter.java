package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.eclipse.collections.api.factory.Lists;
import org.eclipse.collections.api.list.MutableList;
import org.transnormer.InputException;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Writes a model folder in Hugging Face style. Matrices are saved in one type; θ, norm weights and biases never narrower
 * than F32. Two keys of the configuration are set to what is written: {@code tie_word_embeddings}, by whether a head of
 * its own is among the tensors, and {@code torch_dtype}. SPEC section 6.2.
 */
public final class HuggingFaceWriter {
    /** What transformers has long used: small enough for any host and file system. */
    public static final long SHARD_BYTES = 5_000_000_000L;

    private final HfConfig config;
    private final Iterable<Tensor> tensors;
    private final DType dtype;
    private final long shardBytes;

    /**
     * @param tensors under their released names; read when the folder is written
     * @param dtype floating type of the matrices in the file
     * @param shardBytes a file holds no more tensors than this, but at least one
     */
    public HuggingFaceWriter(HfConfig config, Iterable<Tensor> tensors, DType dtype, long shardBytes) {
        this.config = config;
        this.tensors = tensors;
        this.dtype = dtype;
        this.shardBytes = shardBytes;
    }

    /** Bytes of all tensors in the files. */
    public long bytes() {
        long bytes = 0;
        for (Tensor tensor : tensors) {
            bytes += bytes(tensor);
        }
        return bytes;
    }

    /**
     * Makes a new model folder, complete or not at all.
     *
     * @param folder does not exist yet, or is empty
     * @param others writes what else belongs there, such as the tokenizer's files
     * @throws InputException if the folder holds anything
     * @throws org.transnormer.EnvironmentException if it cannot be written
     */
    public void save(Path folder, AtomicFiles.Body<Path> others) {
        if (Files.exists(folder)) {
            try (Stream<Path> contents = Files.list(folder)) {
                if (contents.findAny().isPresent()) {
                    throw InputFiles.bad(folder, "is not empty", "give a new folder, or empty this one first");
                }
            } catch (IOException e) {
                throw InputFiles.unreadable(folder, e);
            }
        }
        replace(folder, others);
    }

    /** As {@link #save}, but deletes whatever the folder held: for a caller that owns it. */
    public void replace(Path folder, AtomicFiles.Body<Path> others) {
        AtomicFiles.replaceFolder(folder, bytes(), temp -> {
            write(temp);
            others.write(temp);
        });
    }

    /** Writes the files into a folder that is just being made. */
    void write(Path folder) {
        MutableList<MutableList<Tensor>> shards = shards();
        Map<String, Object> weightMap = new TreeMap<>();
        for (int i = 0; i < shards.size(); i++) {
            String file = HfNames.shard(i + 1, shards.size());
            SafetensorsWriter writer = new SafetensorsWriter().metadata("format", "pt");
            for (Tensor tensor : shards.get(i)) {
                writer.add(tensor, HfNames.savedAs(tensor.name(), dtype));
                weightMap.put(tensor.name(), file);
            }
            writer.write(folder.resolve(file));
        }
        if (shards.size() > 1) {
            Map<String, Object> index = Map.of("total_size", bytes());
            AtomicFiles.write(folder.resolve(HfNames.INDEX),
                    Json.pretty(new TreeMap<>(Map.of("metadata", index, "weight_map", weightMap))));
        }
        config.with("tie_word_embeddings", !weightMap.containsKey(HfNames.HEAD)).with("torch_dtype", torchName())
                .write(folder.resolve(HfNames.CONFIG));
    }

    private MutableList<MutableList<Tensor>> shards() {
        MutableList<MutableList<Tensor>> shards = Lists.mutable.empty();
        long free = 0;
        for (Tensor tensor : tensors) {
            if (shards.isEmpty() || bytes(tensor) > free) {
                shards.add(Lists.mutable.empty());
                free = shardBytes;
            }
            shards.getLast().add(tensor);
            free -= bytes(tensor);
        }
        return shards;
    }

    private long bytes(Tensor tensor) {
        return tensor.size() * HfNames.savedAs(tensor.name(), dtype).bytes();
    }

    private String torchName() {
        return switch (dtype) {
            case F64 -> "float64";
            case F32 -> "float32";
            case BF16 -> "bfloat16";
            case F16 -> "float16";
            case I32 -> throw new IllegalArgumentException("weights are not saved as I32");
        };
    }
}
