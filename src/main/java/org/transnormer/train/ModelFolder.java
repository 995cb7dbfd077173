package org.transnormer.train;

import java.nio.file.Path;
import org.transnormer.InputException;
import org.transnormer.backend.Precision;
import org.transnormer.checkpoint.HfConfig;
import org.transnormer.checkpoint.HuggingFace;
import org.transnormer.checkpoint.HuggingFaceWriter;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.model.ShardTable;
import org.transnormer.model.Weights;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.PlanMemory;

/** Models to and from Hugging Face style folders: the released keys and tensor names. SPEC section 6.2. */
public final class ModelFolder {
    private ModelFolder() {
    }

    /**
     * The configuration of a model in a folder.
     *
     * @throws InputException if it is not one that can be built
     */
    public static ModelConfig config(HuggingFace folder) {
        return config(folder.folder(), folder.config(), folder.tiedHead());
    }

    /** The configuration that a {@code config.json} describes, for a model that is yet to be made. */
    public static ModelConfig config(Path where, HfConfig config, boolean tiedHead) {
        try {
            return ReleasedConfig.parse(config.values(), tiedHead);
        } catch (IllegalArgumentException e) {
            throw new InputException(where.toString(), e.getMessage(), "correct config.json");
        }
    }

    /**
     * The weights of a folder, for inference.
     *
     * @throws InputException if tensors and configuration contradict each other; nothing is allocated then
     */
    public static Weights load(HuggingFace folder, ModelConfig config, Precision precision, Memory memory) {
        return load(folder, config, precision, memory, ShardTable.single(config));
    }

    /**
     * What a rank holds of the weights of a folder, for inference.
     *
     * @throws InputException if tensors and configuration contradict each other; nothing is allocated then
     */
    public static Weights load(HuggingFace folder, ModelConfig config, Precision precision, Memory memory,
            ShardTable shards) {
        try (PlanMemory plan = new PlanMemory()) {
            check(folder, new Weights(config, precision, plan, false));
        }
        Weights weights = new Weights(config, precision, memory, false, shards);
        folder.readInto(Parts.kept(weights));
        return weights;
    }

    /**
     * Compares names and shapes with those of a model.
     *
     * @throws InputException if they contradict each other
     */
    public static void check(HuggingFace folder, Weights weights) {
        folder.check(Parts.kept(weights));
    }

    /** Writes what this rank has to write of a model, its matrices in the type that it computes with. */
    public static HuggingFaceWriter writer(ModelConfig config, Weights weights, Precision precision) {
        DType dtype = precision.weights() == DType.F64 ? DType.F32 : precision.weights();
        return new HuggingFaceWriter(HfConfig.of(ReleasedConfig.toJson(config)), Parts.written(weights), dtype,
                HuggingFaceWriter.SHARD_BYTES);
    }
}
