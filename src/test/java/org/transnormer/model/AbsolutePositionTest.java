package org.transnormer.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.lightning.Sequences;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/** The ablation "APE": a learned table of positions instead of LRPE and decay. SPEC section 2.1. */
class AbsolutePositionTest {
    private static final int ROWS = 6;
    private static final Map<String, Object> KEYS = Map.of("vocab_size", 11, "decoder_embed_dim", 8, "decoder_layers",
            2, "decoder_attention_heads", 2, "hidden_dim", 8, "glu_dim", 6, "linear_use_lrpe_list", List.of(0, 0),
            "init_std", 0.3);
    private static final ModelConfig CONFIG = config(Map.of("position", "ABSOLUTE", "max_position_embeddings", ROWS));

    private static ModelConfig config(Map<String, Object> extension) {
        Map<String, Object> keys = new LinkedHashMap<>(KEYS);
        keys.put("tnl", extension);
        return ReleasedConfig.parse(keys, false);
    }

    @Test
    void theConfigurationComesBack() {
        assertThat(ReleasedConfig.parse(ReleasedConfig.toJson(CONFIG), false)).isEqualTo(CONFIG);
        assertThat(ReleasedConfig.toJson(config(Map.of())).toString()).doesNotContain("max_position_embeddings");
    }

    @Test
    void aConfigurationThatContradictsItselfIsNamed() {
        assertThatThrownBy(() -> config(Map.of("position", "ABSOLUTE"))).hasMessage(
                "tnl.max_position_embeddings must be 1 or more where the position is ABSOLUTE, not 0");
        assertThatThrownBy(() -> config(Map.of("max_position_embeddings", 4))).hasMessage(
                "tnl.max_position_embeddings must be absent where the position is LRPE_DECAY, not 4");
        Map<String, Object> keys = new LinkedHashMap<>(ReleasedConfig.toJson(CONFIG));
        keys.put("linear_use_lrpe_list", List.of(1, 0));
        assertThatThrownBy(() -> ReleasedConfig.parse(keys, false)).hasMessageContaining("LRPE")
                .hasMessageContaining("ABSOLUTE");
    }

    @Test
    void nothingDecaysAndNothingIsRotated() {
        for (int layer = 0; layer < CONFIG.layers(); layer++) {
            assertThat(CONFIG.rates(layer)).containsOnly(0);
        }
        with(BackendKind.SCALAR, CONFIG, (backend, model) -> assertThat(model.stateShape(0)).containsExactly(2, 4, 4));
    }

    @ParameterizedTest
    @EnumSource(names = {"SCALAR", "VECTOR"})
    void theRowOfEachPositionIsAddedUnscaled(BackendKind kind) {
        with(kind, CONFIG, (backend, model) -> {
            Batch batch = batch(backend, new long[] {3, 2}, new long[] {0, 4});
            double[] embedded = new double[5 * 8];
            model.forward(batch, null, new Trace() {
                @Override
                public boolean active() {
                    return true;
                }

                @Override
                public void record(String name, Tensor x) {
                    for (int i = 0; i < embedded.length && name.equals("embed"); i++) {
                        embedded[i] = x.getFlat(i);
                    }
                }
            });
            int[] positions = {0, 1, 2, 4, 5};
            for (int t = 0; t < 5; t++) {
                for (int j = 0; j < 8; j++) {
                    double want = Math.sqrt(8) * model.weights().embedding().value().get(t + 3, j)
                            + model.weights().positions().value().get(positions[t], j);
                    assertThat(embedded[8 * t + j]).isCloseTo(want, within(1e-6));
                }
            }
        });
    }

    /** The same row is used by several tokens, and rows that no token uses get nothing, each time anew. */
    @ParameterizedTest
    @EnumSource(names = {"SCALAR", "VECTOR"})
    void everyBackwardStartsFromZeroUnlessItAccumulates(BackendKind kind) {
        with(kind, CONFIG, (backend, model) -> {
            Batch batch = batch(backend, new long[] {3, 2}, new long[] {0, 0});
            batch.countTargets(5);
            for (int t = 0; t < 5; t++) {
                batch.targetBuffer().setInt(t, t + 4);
            }
            Tensor gradient = model.weights().positions().gradient();
            double[] once = gradient(model, batch, false, gradient);
            assertThat(once[0]).isNotZero();
            assertThat(List.of(once[3 * 8], once[5 * 8])).containsOnly(0.0);
            assertThat(gradient(model, batch, false, gradient)).isEqualTo(once);
            double[] twice = gradient(model, batch, true, gradient);
            for (int i = 0; i < once.length; i++) {
                assertThat(twice[i]).isCloseTo(2 * once[i], within(1e-6));
            }
        });
    }

    @ParameterizedTest
    @EnumSource(names = {"SCALAR", "VECTOR"})
    void aPositionBeyondTheTableIsOneLine(BackendKind kind) {
        with(kind, CONFIG, (backend, model) -> {
            Batch batch = batch(backend, new long[] {2, 3}, new long[] {4, 4});
            assertThatThrownBy(() -> model.forward(batch, null, Trace.NONE))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("7 tokens")
                    .hasMessageContaining("max_position_embeddings is 6").hasMessageNotContaining("\n");
        });
    }

    private static double[] gradient(TransNormer model, Batch batch, boolean accumulate, Tensor gradient) {
        model.forward(batch, null, Trace.NONE);
        model.backward(batch, accumulate, Trace.NONE);
        double[] values = new double[Math.toIntExact(gradient.size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = gradient.getFlat(i);
        }
        return values;
    }

    /** Tokens 3, 4, 5 ... in sequences of some lengths from some positions. */
    private static Batch batch(Backend backend, long[] lengths, long[] starts) {
        Batch batch = new Batch(backend.memory(), backend.precision().accumulation(), lengths.length, 5);
        for (int i = 0; i < lengths.length; i++) {
            batch.sequences().add(lengths[i], starts[i], Sequences.NO_SLOT);
        }
        for (int t = 0; t < 5; t++) {
            batch.idBuffer().setInt(t, t + 3);
        }
        return batch;
    }

    private interface Check {
        void run(Backend backend, TransNormer model);
    }

    private static void with(BackendKind kind, ModelConfig config, Check check) {
        try (Backend backend = kind.open(kind.precision(kind.dtypes().getFirst()), 2)) {
            Weights weights = new Weights(config, backend.precision(), backend.memory(), true);
            weights.initialise(3);
            TransNormer model = new TransNormer(backend, Communicator.single(), config, weights,
                    TransNormer.Mode.TRAINING, 5);
            backend.commit();
            check.run(backend, model);
        }
    }
}
