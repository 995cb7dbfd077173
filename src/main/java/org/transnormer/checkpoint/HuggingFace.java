package org.transnormer.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.eclipse.collections.api.factory.Lists;
import org.eclipse.collections.api.factory.Sets;
import org.eclipse.collections.api.list.ImmutableList;
import org.eclipse.collections.api.list.MutableList;
import org.eclipse.collections.api.list.primitive.ImmutableLongList;
import org.eclipse.collections.api.map.MapIterable;
import org.eclipse.collections.api.set.MutableSet;
import org.transnormer.InputException;
import org.transnormer.tensor.Tensor;

/**
 * A model folder in Hugging Face style, open for reading: {@code config.json} and {@code model.safetensors}, or shards
 * and their index. A table of tensors is any sequence of {@link Tensor}s that bear the released names. SPEC section 6.2.
 *
 * <p>The head is tied (the head is the embedding) by this rule:
 *
 * <pre>
 * only one of model.embed_tokens.weight and lm_head.weight:  tied; an error if the configuration says otherwise
 * both, equal bit by bit:                                    tied, unless the configuration says otherwise
 * both, different:                                           separate, whatever the configuration says
 * </pre>
 *
 * where the configuration says otherwise by {@code "tie_word_embeddings": false}; transformers' default is true.
 */
public final class HuggingFace implements AutoCloseable {
    private static final String TIE = "tie_word_embeddings";
    private static final int FAULTS_SHOWN = 5;
    private static final String AGAIN = "download or copy the model again";

    private final Path folder;
    private final HfConfig config;
    private final WeightFiles weights;
    private final boolean tiedHead;

    private HuggingFace(Path folder, HfConfig config, WeightFiles weights) {
        this.folder = folder;
        this.config = config;
        this.weights = weights;
        this.tiedHead = isHeadTied();
    }

    /**
     * Opens a folder and checks everything but the values.
     *
     * @throws InputException if a file is missing, damaged or contradicts another
     */
    public static HuggingFace open(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw InputFiles.bad(folder, Files.exists(folder) ? "is not a folder" : "does not exist",
                    "give a folder with %s and %s".formatted(HfNames.CONFIG, HfNames.WEIGHTS));
        }
        if (!Files.exists(folder.resolve(HfNames.CONFIG))) {
            throw InputFiles.bad(folder, "has no " + HfNames.CONFIG, "give a model folder, or the folder of a run");
        }
        HfConfig config = HfConfig.read(folder.resolve(HfNames.CONFIG));
        WeightFiles weights = WeightFiles.open(folder);
        try {
            return new HuggingFace(folder, config, weights);
        } catch (RuntimeException e) {
            weights.close();
            throw e;
        }
    }

    public Path folder() {
        return folder;
    }

    public HfConfig config() {
        return config;
    }

    /** What is odd about the folder but does not stop it from being used; a sentence each. */
    public ImmutableList<String> notes() {
        return weights.notes().toImmutable();
    }

    /** Whether the head is the embedding. */
    public boolean tiedHead() {
        return tiedHead;
    }

    /** All names, sorted. */
    public ImmutableList<String> names() {
        return weights.names();
    }

    /**
     * Type and shape of one tensor.
     *
     * @throws InputException if there is none of that name
     */
    public Safetensors.Entry entry(String name) {
        return weights.holder(name).entry(name);
    }

    /** As {@link Safetensors#view}; a tied embedding is found under either name. */
    public Tensor view(String name) {
        return weights.holder(inFile(name)).view(inFile(name));
    }

    /**
     * Compares names and shapes with what a model of this configuration needs; reads no values.
     *
     * @param wanted the model's tensors under their released names; their values are not touched
     * @throws InputException naming tensors that differ, are missing or are left over, and the keys of the configuration
     *     that the shapes contradict
     */
    public void check(Iterable<Part> wanted) {
        MutableList<String> faults = Lists.mutable.empty();
        MutableSet<String> left = Sets.mutable.withAll(names());
        for (Part tensor : wanted) {
            String shape = Arrays.toString(tensor.shape());
            String name = inFile(tensor.name());
            left.remove(name);
            if (!weights.contains(name)) {
                faults.add("%s: config %s, not in the file".formatted(name, shape));
            } else if (!Arrays.equals(entry(name).shape().toArray(), tensor.shape())) {
                faults.add("%s: config %s, file %s".formatted(name, shape, entry(name).shape()));
            }
        }
        if (tiedHead) {
            left.remove(HfNames.HEAD);
        }
        for (String name : left.toSortedList()) {
            faults.add("%s: not by the config, file %s".formatted(InputFiles.quoted(name), entry(name).shape()));
        }
        if (faults.notEmpty()) {
            throw misfit(faults);
        }
    }

    /**
     * Fills what this process has of a model's tensors, converting types: {@link #check}, then
     * {@link Safetensors#readInto} for each. A tied embedding is found under either name.
     */
    public void readInto(Iterable<Part> wanted) {
        check(wanted);
        for (Part tensor : wanted) {
            String name = inFile(tensor.name());
            weights.holder(name).readInto(tensor.named(name));
        }
    }

    @Override
    public void close() {
        weights.close();
    }

    private boolean isHeadTied() {
        boolean embedding = weights.contains(HfNames.EMBEDDING);
        boolean head = weights.contains(HfNames.HEAD);
        boolean saysSeparate = !config.flag(TIE, true);
        if (!embedding && !head) {
            throw InputFiles.bad(folder, "has neither %s nor %s".formatted(HfNames.EMBEDDING, HfNames.HEAD),
                    "give a TransNormerLLM model");
        }
        if (embedding != head) {
            if (saysSeparate) {
                throw InputFiles.bad(config.file(), "says \"%s\": false, but the weights hold only %s".formatted(TIE,
                        embedding ? HfNames.EMBEDDING : HfNames.HEAD),
                        "set it to true if the head is tied, or " + AGAIN);
            }
            return true;
        }
        boolean equal = sameContents(HfNames.EMBEDDING, HfNames.HEAD);
        if (!equal && !saysSeparate) {
            weights.notes()
                    .add("%s differs from %s: the head is separate, though config.json %s".formatted(HfNames.HEAD,
                            HfNames.EMBEDDING, config.has(TIE) ? "says it is tied" : "does not say so"));
        }
        return equal && !saysSeparate;
    }

    private boolean sameContents(String one, String other) {
        Safetensors.Entry a = entry(one);
        Safetensors.Entry b = entry(other);
        return a.dtype() == b.dtype() && a.shape().equals(b.shape())
                && weights.holder(one).bytes(a).mismatch(weights.holder(other).bytes(b)) < 0;
    }

    private String inFile(String name) {
        return name.equals(HfNames.EMBEDDING) && !weights.contains(name) ? HfNames.HEAD : name;
    }

    private InputException misfit(MutableList<String> faults) {
        MutableList<String> lines = Lists.mutable.withAll(faults.take(FAULTS_SHOWN));
        if (faults.size() > FAULTS_SHOWN) {
            lines.add("and %d more".formatted(faults.size() - FAULTS_SHOWN));
        }
        MutableList<String> keys = contradictions();
        if (keys.notEmpty()) {
            lines.add("by its shapes the file has " + keys.makeString(", "));
        }
        return InputFiles.bad(config.file(), "describes another model than the weights beside it:\n  "
                + lines.makeString("\n  "), "take the config.json that belongs to these weights, or correct it");
    }

    /** Keys of the configuration that the shapes contradict, with both values. */
    private MutableList<String> contradictions() {
        MutableList<String> keys = Lists.mutable.empty();
        MapIterable<String, Object> implied = HfNames
                .impliedConfig(names().toMap(name -> name, name -> entry(name).shape()));
        for (String key : implied.keysView().toSortedList()) {
            Object said = config.values().get(key);
            if (said instanceof List<?> list && implied.get(key) instanceof ImmutableLongList) {
                said = list.stream().limit(((Number) implied.getIfAbsent("decoder_layers", () -> 0)).longValue())
                        .toList();
            }
            // -1 stands for the default.
            if (said != null && !said.equals(-1L) && !said.toString().equals(implied.get(key).toString())) {
                keys.add("%s %s (%s: %s)".formatted(key, implied.get(key), HfNames.CONFIG, said));
            }
        }
        return keys;
    }
}
