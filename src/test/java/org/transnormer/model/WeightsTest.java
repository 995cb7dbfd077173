package org.transnormer.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.transnormer.backend.Precision;
import org.transnormer.tensor.PlanMemory;

class WeightsTest {
    private static final ModelConfig CONFIG = ReleasedConfig.parse(Map.of("vocab_size", 11, "decoder_embed_dim", 8,
            "decoder_layers", 2, "decoder_attention_heads", 2, "hidden_dim", 8, "glu_dim", 6, "norm_type", "layernorm",
            "bias", true, "linear_use_lrpe_list", List.of(1, 0)), false);

    private static final ModelConfig ABSOLUTE = ReleasedConfig.parse(Map.of("decoder_layers", 1, "glu_dim", 64,
            "linear_use_lrpe_list", List.of(0), "tnl", Map.of("position", "ABSOLUTE", "max_position_embeddings", 30)),
            true);

    private static Weights weights(ModelConfig config) {
        try (PlanMemory memory = new PlanMemory()) {
            return new Weights(config, Precision.F32, memory, true);
        }
    }

    /** The angles have three dimensions in a checkpoint and are no matrix all the same. */
    @Test
    void matricesDecayAnglesNormsAndBiasesDoNot() {
        List<Parameter> parameters = weights(CONFIG).parameters();
        assertThat(parameters).extracting(Parameter::name).contains("model.layers.0.token_mixer.lrpe.theta",
                "model.layers.1.token_norm.weight", "model.layers.1.channel_mixer.l2.bias", "lm_head.weight");
        assertThat(parameters).allSatisfy(p -> assertThat(p.group().decays()).as(p.name())
                .isEqualTo(p.shape().length == 2));
    }

    @Test
    void aTableOfPositionsDecaysAsTheOtherMatricesDo() {
        Parameter table = weights(ABSOLUTE).parameter("model.embed_positions.weight");
        assertThat(table.shape()).containsExactly(30, 1024);
        assertThat(table.group().decays()).isTrue();
    }

    @Test
    void theCountIsThatOfTheParameters() {
        for (ModelConfig config : List.of(CONFIG, ABSOLUTE, Preset.NANO.config(259, 0, 1, 2))) {
            Weights weights = weights(config);
            long elements = weights.parameters().stream()
                    .mapToLong(p -> p.elements() / p.shape()[0] * p.exported()).sum();
            assertThat(weights.count()).isEqualTo(elements);
        }
    }
}
