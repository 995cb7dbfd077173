package org.transnormer.adamw;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class WeightDecayTest {
    @Test
    void matricesDecayVectorsDoNot() {
        for (WeightDecay rule : WeightDecay.values()) {
            assertThat(rule.applies("model.embed_tokens.weight", 2)).isTrue();
            assertThat(rule.applies("model.layers.0.token_mixer.qkvu_proj.weight", 2)).isTrue();
            assertThat(rule.applies("model.layers.0.token_mixer.qkvu_proj.bias", 1)).isFalse();
            assertThat(rule.applies("model.final_norm.weight", 1)).isFalse();
        }
    }

    @Test
    void theRulesDifferInTheAngles() {
        for (int dimensions = 2; dimensions <= 3; dimensions++) {
            String theta = "model.layers.0.token_mixer.lrpe.theta";
            assertThat(WeightDecay.MATRICES.applies(theta, dimensions)).isFalse();
            assertThat(WeightDecay.ALL_BUT_VECTORS.applies(theta, dimensions)).isTrue();
        }
    }
}
