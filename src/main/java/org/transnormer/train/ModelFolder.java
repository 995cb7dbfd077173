package org.transnormer.train;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.transnormer.InputException;
import org.transnormer.backend.Precision;
import org.transnormer.checkpoint.HfConfig;
import org.transnormer.checkpoint.HuggingFace;
import org.transnormer.checkpoint.HuggingFaceWriter;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.model.ShardTable;
import org.transnormer.model.Weights;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;

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
            folder.check(tensors(new Weights(config, precision, plan, false)));
        }
        Weights weights = new Weights(config, precision, memory, false, shards);
        if (shards.size() == 1) {
            folder.readInto(tensors(weights));
            return weights;
        }
        for (Parameter p : weights.parameters()) {
            Tensor whole = folder.view(p.name());
            if (whole == null || !whole.dtype().isFloat()) {
                throw new InputException(folder.folder().toString(), "tensor %s is %s".formatted(p.name(),
                        folder.entry(p.name()).dtype()), "convert it to F32, F16 or BF16 first");
            }
            p.takeFrom(whole);
        }
        return weights;
    }

    /**
     * What a checkpoint holds of a model, under the released names: the padding of the vocabulary cut off.
     *
     * @throws IllegalStateException if this rank keeps only shares of the weights
     */
    public static List<Tensor> tensors(Weights weights) {
        List<Tensor> tensors = new ArrayList<>();
        for (Parameter p : weights.parameters()) {
            if (p.group().isGathered()) {
                throw new IllegalStateException("this rank keeps a share of %s only".formatted(p.name()));
            }
            tensors.add(p.exported(p.group().value()).named(p.name()));
        }
        return tensors;
    }

    /** Writes a model, its matrices in the type that it computes with. */
    public static HuggingFaceWriter writer(ModelConfig config, Weights weights, Precision precision) {
        DType dtype = precision.weights() == DType.F64 ? DType.F32 : precision.weights();
        return new HuggingFaceWriter(HfConfig.of(ReleasedConfig.toJson(config)), tensors(weights), dtype,
                HuggingFaceWriter.SHARD_BYTES);
    }
}
