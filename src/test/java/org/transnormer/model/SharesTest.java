package org.transnormer.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.InProcess;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;

/** What each of the ranks holds that read different data. SPEC section 7.3. */
class SharesTest {
    /** Every kind of parameter, none of a round size; 37 of 48 rows of the vocabulary count. */
    private static final ModelConfig CONFIG = ReleasedConfig.parse(Map.of("vocab_size", 37, "decoder_embed_dim", 12,
            "decoder_layers", 3, "decoder_attention_heads", 6, "hidden_dim", 12, "glu_dim", 6, "norm_type",
            "layernorm", "bias", true, "linear_use_lrpe_list", List.of(1, 0, 1), "pad_token_id", 20), false);

    private static DataParallel rank(Mode mode, int rank, int ranks) {
        return DataParallel.of(mode, new Communicator.Planned(rank, ranks));
    }

    /** A rank draws what it keeps; padding is zero. */
    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F64", "BF16"})
    void initialSharesAreRangesOfTheWhole(DType dtype) {
        for (int tensor : new int[] {1, 3}) {
            for (int ranks : new int[] {2, 3, 5}) {
                for (Mode mode : Mode.values()) {
                    shares(BackendKind.SCALAR.precision(dtype), tensor, ranks, mode);
                }
            }
        }
    }

    private static void shares(Precision precision, int tensor, int ranks, Mode mode) {
        ShardTable shards = new ShardTable(CONFIG, tensor - 1, tensor);
        try (HostMemory memory = new HostMemory()) {
            Weights whole = new Weights(CONFIG, precision, memory, false, shards);
            whole.initialise(11);
            for (int rank = 0; rank < ranks; rank++) {
                Weights drawn = new Weights(CONFIG, precision, memory, false, shards, rank(mode, rank, ranks));
                drawn.initialise(11);
                for (int i = 0; i < whole.groups().size(); i++) {
                    assertRange(drawn.groups().get(i), whole.groups().get(i).value());
                }
            }
        }
    }

    private static void assertRange(ParameterGroup group, Tensor whole) {
        Tensor kept = group.kept(group.kept());
        for (long i = 0; i < kept.size(); i++) {
            long at = group.kept().from() + i;
            double want = at < whole.size() ? whole.get(at) : 0;
            if (kept.get(i) != want) {
                assertThat(kept.get(i)).as("%s[%d]", group.name(), at).isEqualTo(want);
            }
        }
    }

    /** Shares are equal, in order, and start on cache lines; together they are the group. */
    @Test
    void sharesAreEqualRanges() {
        for (Mode mode : List.of(Mode.ZERO1, Mode.FULLY_SHARDED)) {
            for (int ranks : new int[] {2, 3, 7}) {
                for (int rank = 0; rank < ranks; rank++) {
                    for (ParameterGroup group : planned(mode, rank, ranks).groups()) {
                        Span share = group.share();
                        assertThat(share.size() * ranks).isEqualTo(group.size());
                        assertThat(share.from()).isEqualTo(rank * share.size());
                        assertThat(share.size() % 32).isZero();
                        long content = group.parameters().stream().flatMapToLong(p -> LongStream.of(p.span().to()))
                                .max().orElseThrow();
                        assertThat(group.size() - content).isBetween(0L, 32L * ranks);
                        assertThat(group.gradientShare().size()).isEqualTo(share.size());
                    }
                }
            }
        }
    }

    private static Weights planned(Mode mode, int rank, int ranks) {
        return new Weights(CONFIG, Precision.F32, new PlanMemory(), true, ShardTable.single(CONFIG),
                rank(mode, rank, ranks));
    }

    /** Matrices of blocks are gathered two at a time; everything else stays. */
    @Test
    void onlyBlocksMatricesAreGathered() {
        for (Mode mode : Mode.values()) {
            Weights weights = planned(mode, 1, 2);
            for (ParameterGroup group : weights.groups()) {
                assertThat(group.isGathered()).as(group.name())
                        .isEqualTo(mode == Mode.FULLY_SHARDED && weights.isMatricesOfBlock(group));
            }
            if (mode == Mode.FULLY_SHARDED) {
                assertThat(weights.matrices(2).value()).isSameAs(weights.matrices(0).value())
                        .isNotSameAs(weights.matrices(1).value());
                assertThat(weights.matrices(2).valueShare()).isNotSameAs(weights.matrices(0).valueShare());
            }
        }
        assertThat(DataParallel.of(Mode.FULLY_SHARDED, Communicator.single()).mode()).isEqualTo(Mode.REPLICATED);
    }

    /** A planned rank cannot exchange anything: what it enters was there. */
    @Test
    void whatASlotHoldsIsNotGatheredAgainUntilItChanges() {
        Weights weights = planned(Mode.FULLY_SHARDED, 1, 2);
        for (int layer = 0; layer < 2; layer++) {
            weights.matrices(layer).slot().hold(weights.matrices(layer));
        }
        weights.enter(0, 1);
        weights.enter(1, 0);
        weights.enter(0, -1);
        weights.enter(1, 3);
        assertThatThrownBy(() -> weights.enter(1, 2)).isInstanceOf(IllegalStateException.class);
        weights.dataParallel().publish(weights.matrices(2));
        weights.enter(0, 1);
        weights.dataParallel().publish(weights.matrices(1));
        weights.enter(0, -1);
        assertThatThrownBy(() -> weights.enter(0, 1)).isInstanceOf(IllegalStateException.class);
    }

    /** A layer that is gathered takes the place of the one two before it. */
    @Test
    void aGatheredLayerTakesTheSlotOfTheOneTwoBefore() {
        InProcess.run(2, Duration.ofSeconds(60), ranks -> {
            Weights weights = new Weights(CONFIG, Precision.F64, new HostMemory(), false, ShardTable.single(CONFIG),
                    DataParallel.of(Mode.FULLY_SHARDED, ranks));
            weights.enter(0, 1);
            weights.enter(1, 2);
            for (int layer = 0; layer < 3; layer++) {
                assertThat(weights.matrices(layer).slot().holds(weights.matrices(layer))).isEqualTo(layer > 0);
            }
        });
    }

    /** The plan of a 1B model over 8 ranks: an eighth of the blocks and two whole ones. */
    @Test
    void memoryOfARank() {
        ModelConfig config = Preset.of("1B").config(64_000, 0, 1, 2);
        long block = 4L * 2048 * 2048 + 2048L * 2048 + 3L * 5632 * 2048;
        for (Mode mode : Mode.values()) {
            PlanMemory memory = new PlanMemory();
            new Weights(config, Precision.BF16, memory, true, ShardTable.single(config), rank(mode, 3, 8));
            boolean sharded = mode == Mode.FULLY_SHARDED;
            long blocks = 16 * block / (sharded ? 8 : 1);
            long embedding = 64_000L * 2048;
            assertThat(memory.plan().bytes(MemoryKind.WEIGHTS)).isCloseTo(2 * (blocks + embedding), within(1e-4));
            assertThat(memory.plan().bytes(MemoryKind.GRADIENTS)).isCloseTo(4 * (blocks + embedding), within(1e-4));
            assertThat(memory.plan().bytes(MemoryKind.GATHERED)).isEqualTo(sharded ? 2 * 6 * block : 0);
        }
    }

    private static Percentage within(double share) {
        return Percentage.withPercentage(100 * share);
    }
}
