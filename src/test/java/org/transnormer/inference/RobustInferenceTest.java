package org.transnormer.inference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.lightning.Sequences;
import org.transnormer.model.Batch;
import org.transnormer.model.DecodeState;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * What inference promises, and the released code's does not keep: a sequence sees nothing but its own tokens, at their
 * own positions, however it is cut, batched, forked or moved. LRPE and a table of positions are where a wrong position
 * shows.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class RobustInferenceTest {
    private static final int[] PROMPT = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
    private static final int[] OTHER = {2, 7, 1, 8};
    private static final int[] NEXT = {8, 9, 7, 9, 3};
    private static final int MAX_TOKENS = 16;

    /** LRPE in the first and last layer; a table of positions. */
    private static final List<ModelConfig> CONFIGS = List.of(config(1, Map.of()),
            config(0, Map.of("position", "ABSOLUTE", "max_position_embeddings", 64)));

    private static ModelConfig config(int lrpe, Map<String, Object> extension) {
        return ReleasedConfig.parse(Map.of("vocab_size", 11, "decoder_embed_dim", 24, "decoder_layers", 3,
                "decoder_attention_heads", 3, "hidden_dim", 24, "glu_dim", 20, "linear_use_lrpe_list",
                List.of(lrpe, 0, lrpe), "init_std", 0.4, "tnl", extension), false);
    }

    /** The backends that are tested. */
    List<BackendKind> kinds() {
        return List.of(BackendKind.SCALAR, BackendKind.VECTOR);
    }

    /** A small model on one backend. */
    private record Setup(Backend backend, TransNormer model) implements AutoCloseable {
        static Setup of(BackendKind kind, ModelConfig config) {
            Backend backend = kind.open(kind.precision(kind == BackendKind.SCALAR ? DType.F64 : DType.F32), 2);
            Weights weights = new Weights(config, backend.precision(), backend.memory(), false);
            weights.initialise(5);
            TransNormer model = new TransNormer(backend, Communicator.single(), config, weights,
                    TransNormer.Mode.INFERENCE, MAX_TOKENS);
            return new Setup(backend, model);
        }

        RobustInference inference(int slots) {
            return new RobustInference(backend, model, slots);
        }

        /** The same to the last bit, or as near as another order of the same sums comes. */
        double tolerance(BackendKind kind) {
            return kind == BackendKind.SCALAR ? 1e-12 : 2e-5;
        }

        @Override
        public void close() {
            backend.close();
        }
    }

    private static void with(BackendKind kind, Consumer<Setup> test) {
        for (ModelConfig config : CONFIGS) {
            try (Setup setup = Setup.of(kind, config)) {
                setup.backend().commit();
                test.accept(setup);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void aSecondPromptInTheSameSlotIsLikeTheFirst(BackendKind kind) {
        with(kind, s -> {
            double[][] fresh = decoded(s.inference(1), 0, PROMPT);
            RobustInference used = s.inference(1);
            decoded(used, 0, OTHER);
            used.state().reset(0);
            assertThat(decoded(used, 0, PROMPT)).isDeepEqualTo(fresh);
        });
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void aPromptInAnotherSlotIsNotDisturbed(BackendKind kind) {
        with(kind, s -> {
            double[][] alone = decoded(s.inference(1), 0, PROMPT);
            RobustInference shared = s.inference(3);
            shared.extend(0, OTHER);
            shared.extend(2, NEXT);
            assertThat(decoded(shared, 1, PROMPT)).isDeepEqualTo(alone);
        });
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void severalTokensAtOnceAreLikeOneByOne(BackendKind kind) {
        with(kind, s -> {
            RobustInference oneByOne = s.inference(1);
            double[] last = {};
            for (int token : PROMPT) {
                last = row(oneByOne.extend(0, token), 0);
            }
            for (int cut = 1; cut < PROMPT.length; cut += 3) {
                RobustInference cutInTwo = s.inference(1);
                cutInTwo.extend(0, Arrays.copyOf(PROMPT, cut));
                double[] got = row(cutInTwo.extend(0, Arrays.copyOfRange(PROMPT, cut, PROMPT.length)), 0);
                assertThat(got).containsExactly(last, within(s.tolerance(kind)));
                assertThat(cutInTwo.state().position(0)).isEqualTo(PROMPT.length);
                assertThat(row(cutInTwo.extend(0, 7), 0)).containsExactly(row(s.model(), oneByOne, 7),
                        within(s.tolerance(kind)));
            }
        });
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void aPromptLongerThanTheBuffersIsReadInPieces(BackendKind kind) {
        with(kind, s -> {
            int[] text = new int[3 * MAX_TOKENS + 5];
            Arrays.setAll(text, i -> (7 * i + i * i) % 11);
            RobustInference pieces = s.inference(1);
            double[] got = row(pieces.extend(0, text), 0);
            RobustInference oneByOne = s.inference(1);
            double[] want = {};
            for (int token : text) {
                want = row(oneByOne.extend(0, token), 0);
            }
            assertThat(got).containsExactly(want, within(s.tolerance(kind)));
            assertThat(pieces.state().position(0)).isEqualTo(text.length);
        });
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void batchedDecodingAtDifferentPositionsIsLikeEachAlone(BackendKind kind) {
        with(kind, s -> {
            double[][] first = decoded(s.inference(1), 0, PROMPT);
            double[][] second = decoded(s.inference(1), 0, OTHER, PROMPT);
            RobustInference batched = s.inference(2);
            batched.extend(0, PROMPT);
            batched.extend(1, OTHER);
            for (int i = 0; i < NEXT.length; i++) {
                // the order of the slots in a call is free
                Tensor z = batched.decode(new int[] {1, 0}, new int[] {PROMPT[i], NEXT[i]});
                assertThat(row(z, 1)).isEqualTo(first[i]);
                assertThat(row(z, 0)).isEqualTo(second[i]);
            }
            // the longer sequence goes on alone
            for (int i = NEXT.length; i < PROMPT.length; i++) {
                assertThat(row(batched.decode(new int[] {1}, new int[] {PROMPT[i]}), 0)).isEqualTo(second[i]);
            }
        });
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void aForkGoesOnLikeItsOriginal(BackendKind kind) {
        with(kind, s -> {
            double[][] want = decoded(s.inference(1), 0, PROMPT);
            RobustInference forked = s.inference(2);
            forked.extend(0, PROMPT);
            forked.state().copy(0, forked.state(), 1);
            forked.extend(0, OTHER);
            assertThat(continued(forked, 1)).isDeepEqualTo(want);
        });
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void reorderedBeamsKeepTheirHeadsAndPositions(BackendKind kind) {
        with(kind, s -> {
            double[][] first = decoded(s.inference(1), 0, PROMPT);
            double[][] second = decoded(s.inference(1), 0, OTHER);
            RobustInference beams = s.inference(2);
            beams.extend(0, PROMPT);
            beams.extend(1, OTHER);
            DecodeState kept = new DecodeState(s.model(), s.backend().memory(), 2);
            beams.state().copy(0, kept, 0);
            beams.state().copy(1, kept, 1);
            kept.copy(1, beams.state(), 0);
            kept.copy(0, beams.state(), 1);
            assertThat(continued(beams, 0)).isDeepEqualTo(second);
            assertThat(continued(beams, 1)).isDeepEqualTo(first);
        });
    }

    /** Prompts of different lengths need no padding, which would age the state and push the positions. */
    @ParameterizedTest
    @MethodSource("kinds")
    void aRaggedBatchOfPromptsIsLikeEachAlone(BackendKind kind) {
        with(kind, s -> {
            RobustInference alone = s.inference(2);
            double[] first = row(alone.extend(0, PROMPT), 0);
            double[] second = row(alone.extend(1, OTHER), 0);
            DecodeState together = new DecodeState(s.model(), s.backend().memory(), 3);
            Batch batch = new Batch(s.backend().memory(), s.backend().precision().accumulation(), 3, MAX_TOKENS);
            append(batch, OTHER, 2);
            append(batch, PROMPT, 0);
            batch.sequences().add(1, 0, Sequences.NO_SLOT);
            batch.upload();
            s.model().forward(batch, together, Trace.NONE);
            Tensor z = s.backend().readable(s.model().logits(batch.tokens(), 0, batch.tokens()));
            alike(kind, row(z, OTHER.length - 1), second);
            alike(kind, row(z, OTHER.length + PROMPT.length - 1), first);
            for (int layer = 0; layer < 3; layer++) {
                alike(kind, flat(together.layer(layer).select(0, 0)), flat(alone.state().layer(layer).select(0, 0)));
                alike(kind, flat(together.layer(layer).select(0, 2)), flat(alone.state().layer(layer).select(0, 1)));
                assertThat(flat(together.layer(layer).select(0, 1))).containsOnly(0);
            }
        });
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void aTokenThatIsNoneLeavesTheSequenceAsItWas(BackendKind kind) {
        with(kind, s -> {
            double[][] want = decoded(s.inference(1), 0, PROMPT);
            RobustInference inference = s.inference(1);
            inference.extend(0, PROMPT);
            assertThatThrownBy(() -> inference.extend(0, 3, 11)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("11");
            assertThatThrownBy(() -> inference.extend(0)).isInstanceOf(IllegalArgumentException.class);
            assertThatThrownBy(() -> s.inference(MAX_TOKENS + 1)).isInstanceOf(IllegalArgumentException.class);
            assertThat(continued(inference, 0)).isDeepEqualTo(want);
        });
    }

    /** The same bits on a CPU; on a GPU the number of tokens chooses the order of a product's sums. */
    private static void alike(BackendKind kind, double[] got, double[] want) {
        if (kind == BackendKind.CUDA) {
            assertThat(got).containsExactly(want, within(2e-5));
        } else {
            assertThat(got).isEqualTo(want);
        }
    }

    private static void append(Batch batch, int[] tokens, int slot) {
        long at = batch.sequences().tokens();
        batch.sequences().add(tokens.length, 0, slot);
        for (int i = 0; i < tokens.length; i++) {
            batch.idBuffer().setInt(at + i, tokens[i]);
        }
    }

    /** Reads a prompt, then {@link #NEXT} token by token: the logits behind each of those. */
    private static double[][] decoded(RobustInference inference, int slot, int[] prompt) {
        return decoded(inference, slot, prompt, NEXT);
    }

    private static double[][] decoded(RobustInference inference, int slot, int[] prompt, int[] next) {
        inference.extend(slot, prompt);
        return continued(inference, slot, next);
    }

    private static double[][] continued(RobustInference inference, int slot) {
        return continued(inference, slot, NEXT);
    }

    private static double[][] continued(RobustInference inference, int slot, int[] next) {
        double[][] logits = new double[next.length][];
        for (int i = 0; i < next.length; i++) {
            logits[i] = row(inference.decode(new int[] {slot}, new int[] {next[i]}), 0);
        }
        return logits;
    }

    /** Logits behind one more token, of a copy of the sequence. */
    private static double[] row(TransNormer model, RobustInference inference, int token) {
        try (HostMemory memory = new HostMemory()) {
            DecodeState kept = new DecodeState(model, memory, 1);
            inference.state().copy(0, kept, 0);
            double[] logits = row(inference.extend(0, token), 0);
            kept.copy(0, inference.state(), 0);
            return logits;
        }
    }

    private static double[] row(Tensor logits, int i) {
        return flat(logits.select(0, i).slice(0, 0, 11));
    }

    private static double[] flat(Tensor t) {
        try (Arena arena = Arena.ofConfined()) {
            Tensor onHost = Tensor.allocate(arena, t.name(), t.dtype(), t.shape());
            onHost.copyFrom(t);
            double[] values = new double[Math.toIntExact(t.size())];
            Arrays.setAll(values, onHost::getFlat);
            return values;
        }
    }
}
