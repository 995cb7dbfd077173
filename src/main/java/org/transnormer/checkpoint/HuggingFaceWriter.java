package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.transnormer.InputException;
import org.transnormer.launch.Gathering;
import org.transnormer.launch.Job;
import org.transnormer.tensor.DType;

/**
 * Writes a model folder in Hugging Face style. Matrices are saved in one type; θ, norm weights and biases never narrower
 * than F32. Two keys of the configuration are set to what is written: {@code tie_word_embeddings}, by whether a head of
 * its own is among the tensors, and {@code torch_dtype}. SPEC section 6.2.
 */
public final class HuggingFaceWriter {
    /** What transformers has long used: small enough for any host and file system. */
    public static final long SHARD_BYTES = 5_000_000_000L;

    private final HfConfig config;
    private final DType dtype;
    private final TensorFiles files;

    /**
     * @param tensors under their released names; read when the folder is written
     * @param dtype floating type of the matrices in the file
     * @param shardBytes a file holds no more tensors than this, but at least one
     */
    public HuggingFaceWriter(HfConfig config, Iterable<Part> tensors, DType dtype, long shardBytes) {
        this.config = config;
        this.dtype = dtype;
        this.files = new TensorFiles(tensors, part -> HfNames.savedAs(part.name(), dtype), Map.of("format", "pt"),
                shardBytes, HfNames::shard);
    }

    /** Bytes of all tensors in the files. */
    public long bytes() {
        return files.bytes();
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
        replace(Job.alone(), folder, others);
    }

    /**
     * As {@link #save}, but deletes whatever the folder held: for a caller that owns it. All processes that have parts
     * of the tensors call it.
     */
    public void replace(Gathering ranks, Path folder, AtomicFiles.Body<Path> others) {
        AtomicFiles.replaceFolder(ranks, folder, bytes(), new AtomicFiles.Filling() {
            @Override
            public void make(Path temp) throws IOException {
                create(temp);
                others.write(temp);
            }

            @Override
            public void fill(Path temp) throws IOException {
                files.fill(ranks, temp);
            }
        });
    }

    /** The files that tensors lie in. */
    TensorFiles files() {
        return files;
    }

    /**
     * Writes all but the tensors' elements into a folder that is just being made.
     *
     * @return what this adds to the fingerprint of each file of tensors
     */
    long[] create(Path folder) throws IOException {
        long[] sums = files.create(folder);
        if (files.names().size() > 1) {
            Map<String, Object> index = Map.of("total_size", bytes());
            AtomicFiles.write(folder.resolve(HfNames.INDEX),
                    Json.pretty(new TreeMap<>(Map.of("metadata", index, "weight_map", files.map()))));
        }
        config.with("tie_word_embeddings", !files.map().containsKey(HfNames.HEAD)).with("torch_dtype", torchName())
                .write(folder.resolve(HfNames.CONFIG));
        return sums;
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
