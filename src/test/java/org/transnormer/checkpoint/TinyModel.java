package org.transnormer.checkpoint;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** Tensors under the released names, of a model small enough to write in every test. */
record TinyModel(int vocabulary, int width, int layers, int heads, int glu) {
    static final TinyModel SMALL = new TinyModel(11, 8, 2, 2, 12);

    HfConfig config() {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("model_type", "transnormer");
        config.put("vocab_size", vocabulary);
        config.put("decoder_embed_dim", width);
        config.put("decoder_layers", layers);
        config.put("decoder_attention_heads", heads);
        config.put("hidden_dim", width);
        config.put("glu_dim", glu);
        config.put("bias", true);
        config.put("linear_use_lrpe_list", IntStream.range(0, layers).map(i -> i == 0 ? 1 : 0).boxed()
                .toList());
        return HfConfig.of(config);
    }

    /** The same tensors in F32, without values, their names after a prefix. */
    List<Tensor> tensors(HostMemory memory, String prefix) {
        try (TestTensors values = new TestTensors(0)) {
            return tensors(values, DType.F32, false).stream()
                    .map(t -> memory.allocate(MemoryKind.WEIGHTS, prefix + t.name(), DType.F32, t.shape())).toList();
        }
    }

    /** Random matrices in {@code dtype}, θ, a bias and a norm in F32. */
    List<Tensor> tensors(TestTensors memory, DType dtype, boolean head) {
        List<Tensor> tensors = new ArrayList<>();
        tensors.add(memory.random(HfNames.EMBEDDING, dtype, Values.NORMAL, vocabulary, width));
        for (int i = 0; i < layers; i++) {
            String name = "model.layers." + i + ".";
            tensors.add(memory.random(name + "token_mixer.qkvu_proj.weight", dtype, Values.NORMAL, 4L * width, width));
            tensors.add(memory.random(name + "token_mixer.out_proj.weight", dtype, Values.NORMAL, width, width));
            if (i == 0) {
                tensors.add(memory.random(name + "token_mixer.lrpe.theta", DType.F32, Values.UNIFORM, heads, 1,
                        width / heads));
            }
            tensors.add(memory.random(name + "channel_mixer.l1.weight", dtype, Values.NORMAL, glu, width));
            tensors.add(memory.random(name + "channel_mixer.l2.weight", dtype, Values.NORMAL, glu, width));
            tensors.add(memory.random(name + "channel_mixer.l3.weight", dtype, Values.NORMAL, width, glu));
        }
        tensors.add(memory.random("model.layers.0.token_mixer.out_proj.bias", DType.F32, Values.NORMAL, width));
        tensors.add(memory.random("model.final_norm.weight", DType.F32, Values.NORMAL, width));
        if (head) {
            tensors.add(memory.random(HfNames.HEAD, dtype, Values.NORMAL, vocabulary, width));
        }
        return tensors;
    }
}
