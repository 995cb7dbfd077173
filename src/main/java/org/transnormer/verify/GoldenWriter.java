package org.transnormer.verify;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.IntUnaryOperator;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.checkpoint.SafetensorsWriter;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Independent;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * Writes golden files for configurations of which there is none from the official code: the spec in F64 fills in the
 * outputs. They show that another backend agrees with the spec, and that a file is read as it says.
 */
public final class GoldenWriter {
    private final Map<String, Object> config;
    private final boolean tied;
    private final int sequences;
    private final int tokens;
    private final int prompt;
    private final RandomStream random;
    private long drawn;

    /**
     * @param changes released keys that differ from a small model's
     */
    public GoldenWriter(Map<String, Object> changes, boolean tied, int sequences, int tokens, int prompt, long seed) {
        config = new LinkedHashMap<>(Map.of("vocab_size", 29, "decoder_embed_dim", 24, "decoder_layers", 2,
                "decoder_attention_heads", 3, "hidden_dim", 24, "glu_dim", 20, "linear_use_lrpe_list", List.of(1, 0),
                "linear_act_fun", "silu", "norm_type", "simplermsnorm", "no_scale_embedding", true));
        config.putAll(changes);
        this.tied = tied;
        this.sequences = sequences;
        this.tokens = tokens;
        this.prompt = prompt;
        random = new RandomStream(seed, Purpose.SYNTHETIC, "golden");
    }

    /** Writes the case as one file. */
    public Path write(Path file) {
        return write(file, List.of(file), name -> file).getFirst();
    }

    /**
     * Writes the case.
     *
     * @param scratch is overwritten
     * @param files the files to write
     * @param holder which of them gets a tensor
     */
    public List<Path> write(Path scratch, List<Path> files, Function<String, Path> holder) {
        try (HostMemory memory = new HostMemory()) {
            Map<String, Tensor> tensors = inputs(memory);
            save(scratch, tensors.values());
            try (GoldenCase golden = GoldenCase.read(List.of(scratch)).getFirst();
                    GoldenRun run = new GoldenRun(new ScalarBackend(Precision.F64, new HostMemory()), golden,
                            golden::value, false).run()) {
                for (String name : golden.names()) {
                    tensors.put(name, run.output(name));
                }
                for (Path file : files) {
                    save(file, tensors.values().stream().filter(t -> holder.apply(t.name()).equals(file)).toList());
                }
            }
            return files;
        }
    }

    /** Everything that a run is given, and zeros in place of what it computes. */
    private Map<String, Tensor> inputs(HostMemory memory) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        ModelConfig model = ReleasedConfig.parse(config, tied);
        for (GoldenLayout.Item item : new GoldenLayout(model, sequences, tokens).items()) {
            Tensor t = memory.allocate(MemoryKind.DATA, item.name(), DType.F64, item.shape().toArray());
            if (item.part() == GoldenLayout.Part.PARAMETER) {
                fill(t);
            }
            tensors.put(item.name(), t);
        }
        if (tied) {
            tensors.put("lm_head.weight", tensors.get("model.embed_tokens.weight").named("lm_head.weight"));
        }
        Tensor grid = memory.allocate(MemoryKind.DATA, "actfn.input", DType.F64, 3, 5);
        fill(grid);
        tensors.put(grid.name(), grid);
        for (ActivationFunction f : ActivationFunction.values()) {
            String name = "actfn." + f.releasedName();
            tensors.put(name, memory.allocate(MemoryKind.DATA, name, DType.F64, 3, 5));
        }
        tensors.put("slopes.h5", memory.allocate(MemoryKind.DATA, "slopes.h5", DType.F64, 5));
        integers(tensors, memory, "input_ids", _ -> (int) (random.uniform(drawn++) * model.vocabulary()));
        integers(tensors, memory, "labels",
                i -> i % 4 == 3 ? -100 : (int) (random.uniform(drawn++) * model.vocabulary()));
        integers(tensors, memory, "padded.attention_mask", i -> i % 3 == 1 ? 0 : 1);
        return tensors;
    }

    private void integers(Map<String, Tensor> tensors, HostMemory memory, String name, IntUnaryOperator value) {
        Tensor t = memory.allocate(MemoryKind.DATA, name, DType.I32, sequences, tokens);
        for (int i = 0; i < t.size(); i++) {
            t.setFlat(i, value.applyAsInt(i));
        }
        tensors.put(name, t);
    }

    /** Weights that keep the size of what passes through them. */
    private void fill(Tensor t) {
        String name = t.name();
        boolean matrix = name.endsWith("_proj.weight") || name.contains("channel_mixer.l") && name.endsWith("weight")
                || name.equals("lm_head.weight");
        double scale = matrix ? 1 / Math.sqrt(t.dim(1)) : name.endsWith(".bias") ? 0.2 : 1;
        boolean ofNorm = name.contains("norm.weight");
        long first = drawn;
        drawn += t.size();
        Independent.share(t.size(), 1, (from, to) -> {
            RandomStream.Normals normals = random.new Normals();
            for (long i = from; i < to; i++) {
                double normal = normals.at(first + i);
                t.setFlat(i, ofNorm ? 1 + 0.2 * normal : scale * normal);
            }
        });
    }

    private void save(Path file, Collection<Tensor> tensors) {
        SafetensorsWriter writer = new SafetensorsWriter().metadata("config", json(config)).metadata("info",
                json(Map.of("case", "made", "B", sequences, "N", tokens, "P", prompt, "tied", tied)));
        tensors.forEach(t -> writer.add(t, t.dtype() == DType.I32 ? DType.I32 : DType.F32));
        writer.write(file);
    }

    private static String json(Object value) {
        try {
            return new ObjectMapper().writeValueAsString(value);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }
}
