package org.transnormer.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

/** What each rank of a tensor-parallel model holds. SPEC section 7.1. */
class ShardTableTest {
    private static final Map<String, Object> KEYS = Map.of("vocab_size", 37, "decoder_embed_dim", 12, "decoder_layers",
            2, "decoder_attention_heads", 6, "hidden_dim", 12, "glu_dim", 6, "norm_type", "layernorm", "bias", true,
            "linear_use_lrpe_list", List.of(1, 0), "pad_token_id", 20);

    private static ModelConfig config(boolean tied, Object... changes) {
        Map<String, Object> keys = new LinkedHashMap<>(KEYS);
        for (int i = 0; i < changes.length; i += 2) {
            keys.put((String) changes[i], changes[i + 1]);
        }
        return ReleasedConfig.parse(keys, tied);
    }

    /** Every shape of a third of a model with every kind of parameter. */
    @Test
    void shapesOfAThird() {
        ModelConfig config = config(false);
        Map<String, List<Long>> want = new LinkedHashMap<>();
        want.put("model.embed_tokens.weight", List.of(16L, 12L));
        want.put("lm_head.weight", List.of(16L, 12L));
        want.put("model.final_norm.weight", List.of(12L));
        want.put("model.final_norm.bias", List.of(12L));
        for (int layer = 0; layer < 2; layer++) {
            String prefix = "model.layers." + layer + ".";
            want.put(prefix + "token_mixer.qkvu_proj.weight", List.of(16L, 12L));
            want.put(prefix + "token_mixer.qkvu_proj.bias", List.of(16L));
            want.put(prefix + "token_mixer.norm.weight", List.of(4L));
            want.put(prefix + "token_mixer.norm.bias", List.of(4L));
            want.put(prefix + "token_mixer.out_proj.weight", List.of(12L, 4L));
            want.put(prefix + "token_mixer.out_proj.bias", List.of(12L));
            want.put(prefix + "channel_mixer.l1.weight", List.of(2L, 12L));
            want.put(prefix + "channel_mixer.l1.bias", List.of(2L));
            want.put(prefix + "channel_mixer.l2.weight", List.of(2L, 12L));
            want.put(prefix + "channel_mixer.l2.bias", List.of(2L));
            want.put(prefix + "channel_mixer.l3.weight", List.of(12L, 2L));
            want.put(prefix + "channel_mixer.l3.bias", List.of(12L));
            for (String norm : List.of("token_norm", "channel_norm")) {
                want.put(prefix + norm + ".weight", List.of(12L));
                want.put(prefix + norm + ".bias", List.of(12L));
            }
        }
        want.put("model.layers.0.token_mixer.lrpe.theta", List.of(2L, 1L, 2L));
        try (PlanMemory memory = new PlanMemory()) {
            Map<String, List<Long>> got = new LinkedHashMap<>();
            for (Parameter p : new Weights(config, Precision.F32, memory, true, new ShardTable(config, 2, 3))
                    .parameters()) {
                got.put(p.name(), Arrays.stream(p.shape()).boxed().toList());
            }
            assertThat(got).containsExactlyInAnyOrderEntriesOf(want);
        }
    }

    @Test
    void aRankKnowsItsHeadsAndTokens() {
        ModelConfig config = config(false);
        ShardTable last = new ShardTable(config, 2, 3);
        assertThat(List.of(last.heads(), last.firstHead(), last.gluWidth(), last.firstToken(), last.tokens()))
                .containsExactly(2, 4, 2, 32, 5);
        assertThat(new ShardTable(config, 1, 3).tokens()).isEqualTo(16);
        ShardTable none = new ShardTable(config(false, "vocab_size", 5, "pad_token_id", 0), 1, 2);
        assertThat(List.of(none.firstToken(), none.tokens())).containsExactly(8, 0);
    }

    @Test
    void whatDoesNotDivideIsNamedWithSizesThatDo() {
        assertThatThrownBy(() -> new ShardTable(config(false), 0, 4)).isInstanceOf(IllegalArgumentException.class)
                .hasMessage(
                        "tensor parallelism over 4 ranks needs multiples of 4: decoder_attention_heads is 6, glu_dim"
                                + " is 6; sizes that would do: 1, 2, 3, 6");
        assertThatThrownBy(() -> new ShardTable(config(false, "vocab_size", 64000), 0, 3))
                .hasMessage("tensor parallelism over 3 ranks needs multiples of 3: the padded vocabulary is 64,000; "
                        + "sizes that would do: 1, 2");
        assertThatThrownBy(() -> new ShardTable(config(false), 3, 3)).hasMessage("there is no rank 3 of 3");
        assertThatThrownBy(() -> ShardTable.single(config(false)).of("model.layers.0.token_mixer.extra.weight"))
                .hasMessage("the table of shards has no line for model.layers.0.token_mixer.extra.weight");
        ModelConfig exp = config(false, "tnl", Map.of("glu_activation", "EXP"));
        assertThatThrownBy(() -> new ShardTable(exp, 0, 2)).hasMessageContaining("maximum over all channels");
        assertThat(ShardTable.single(exp).heads()).isEqualTo(6);
    }

    @Test
    void weightsOfAnotherRankAreRefused() {
        ModelConfig config = config(true);
        try (Backend backend = BackendKind.SCALAR.open(Precision.F64, 1)) {
            Weights weights = new Weights(config, Precision.F64, backend.memory(), false, new ShardTable(config, 1, 2));
            assertThatThrownBy(() -> new TransNormer(backend, Communicator.single(), config, weights,
                    TransNormer.Mode.INFERENCE, 4)).hasMessage("rank 0 of 1 got the weights of rank 1 of 2");
        }
    }

    /** A rank draws the slice of what one rank draws. */
    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F64", "F32", "BF16"})
    void initialPartsAreSlicesOfTheWhole(DType dtype) {
        for (boolean tied : new boolean[] {true, false}) {
            ModelConfig config = config(tied);
            Precision precision = BackendKind.SCALAR.precision(dtype);
            for (int size : new int[] {2, 3, 6}) {
                if (config.paddedVocabulary() % size == 0) {
                    slices(config, precision, size);
                }
            }
        }
    }

    private static void slices(ModelConfig config, Precision precision, int size) {
        try (HostMemory memory = new HostMemory(); TestTensors tensors = new TestTensors(0)) {
            Weights whole = new Weights(config, precision, memory, false);
            whole.initialise(11);
            for (int rank = 0; rank < size; rank++) {
                ShardTable shards = new ShardTable(config, rank, size);
                Weights drawn = new Weights(config, precision, memory, false, shards);
                drawn.initialise(11);
                for (Parameter p : whole.parameters()) {
                    Parameter part = drawn.parameter(p.name());
                    Tensor want = tensors.zeros(p.name(), part.group().dtype(), part.shape());
                    part.shard().take(p.value(), want);
                    assertSame(part.value(), want);
                }
            }
        }
    }

    private static void assertSame(Tensor got, Tensor want) {
        assertThat(got.shape()).isEqualTo(want.shape());
        for (long i = 0; i < want.size(); i++) {
            assertThat(got.getFlat(i)).as("%s[%d]", want, i).isEqualTo(want.getFlat(i));
        }
    }
}
