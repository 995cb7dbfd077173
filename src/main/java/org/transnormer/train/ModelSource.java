package org.transnormer.train;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.transnormer.InputException;
import org.transnormer.backend.Backend;
import org.transnormer.checkpoint.HuggingFace;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ShardTable;
import org.transnormer.model.TransNormer;
import org.transnormer.parallel.Communicator;
import org.transnormer.tokenizer.Tokenizer;
import org.transnormer.tokenizer.Tokenizers;

/**
 * The model that a path stands for, open for inference: a model folder, or a run folder, which stands for its finished
 * model or, while the run goes on, for its last checkpoint. SPEC section 6.2.
 */
public final class ModelSource implements AutoCloseable {
    private final HuggingFace folder;
    private final RunFolder run;
    private final ModelConfig config;
    private final Tokenizer tokenizer;

    private ModelSource(HuggingFace folder, RunFolder run) {
        this.folder = folder;
        this.run = run;
        config = ModelFolder.config(folder);
        tokenizer = Tokenizers.load(folder.folder());
        if (tokenizer.vocabularySize() > config.vocabulary()) {
            throw new InputException(folder.folder().toString(), "its tokenizer has %,d tokens, the model only %,d"
                    .formatted(tokenizer.vocabularySize(), config.vocabulary()),
                    "copy the tokenizer files that belong to the model");
        }
    }

    /**
     * Opens a path; reads everything but the weights.
     *
     * @throws InputException if there is no model, or its tokenizer is not supported
     */
    public static ModelSource open(Path path) {
        RunFolder run = RunFolder.isRun(path) ? RunFolder.open(path) : null;
        HuggingFace folder = HuggingFace.open(run == null ? path : run.newestModel());
        try {
            return new ModelSource(folder, run);
        } catch (RuntimeException e) {
            folder.close();
            throw e;
        }
    }

    /** The model folder. */
    public Path folder() {
        return folder.folder();
    }

    /** The run that made it, if the path was a run folder. */
    public Optional<RunFolder> run() {
        return Optional.ofNullable(run);
    }

    public ModelConfig config() {
        return config;
    }

    public Tokenizer tokenizer() {
        return tokenizer;
    }

    /** What is odd about the folder but does not stop it from being used; a sentence each. */
    public List<String> notes() {
        return folder.notes().castToList();
    }

    /**
     * The model with its weights, for inference.
     *
     * @param maxTokens most tokens of one batch
     * @throws InputException if tensors and configuration contradict each other
     */
    public TransNormer load(Backend backend, long maxTokens) {
        return load(backend, Communicator.single(), maxTokens);
    }

    /**
     * A rank's part of the model with its weights, for inference.
     *
     * @param communicator the ranks that each layer is split over
     * @param maxTokens most tokens of one batch
     * @throws InputException if tensors and configuration contradict each other
     */
    public TransNormer load(Backend backend, Communicator communicator, long maxTokens) {
        ShardTable shards = new ShardTable(config, communicator.rank(), communicator.size());
        return new TransNormer(backend, communicator, config,
                ModelFolder.load(folder, config, backend.precision(), backend.memory(), shards),
                TransNormer.Mode.INFERENCE, maxTokens);
    }

    @Override
    public void close() {
        folder.close();
    }
}
