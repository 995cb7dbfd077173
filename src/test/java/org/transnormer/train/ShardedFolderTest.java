package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.transnormer.InputException;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Precision;
import org.transnormer.checkpoint.HuggingFace;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.model.Parameter;
import org.transnormer.model.ShardTable;
import org.transnormer.model.Weights;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** A rank takes its parts of a model folder, which is whole. SPEC section 7.1. */
class ShardedFolderTest {
    private static ModelConfig config(boolean tied) {
        return new ModelConfig(37, 8, 2, 4, 8, 12, NormType.LAYERNORM, ActivationFunction.SILU,
                ActivationFunction.IDENTITY, Position.LRPE_DECAY, 0, List.of(true, false), DecaySchedule.RELEASED,
                DecayTemperature.BY_LAYER, Gate.LINEAR, true, true, tied, 0.3, 0, 1, 2);
    }

    private static void write(Path folder, ModelConfig config) {
        try (HostMemory memory = new HostMemory()) {
            Weights weights = new Weights(config, Precision.F32, memory, false);
            weights.initialise(3);
            ModelFolder.writer(config, weights, Precision.F32).save(folder, path -> {
            });
        }
    }

    /** Also in a narrower type than the file's, which rounds each element once. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void everyRankGetsItsSliceOfWhatOneRankGets(boolean tied, @TempDir Path temporary) {
        Path folder = temporary.resolve("model");
        write(folder, config(tied));
        for (Precision precision : List.of(Precision.F32, Precision.BF16, Precision.F64)) {
            try (HuggingFace file = HuggingFace.open(folder); HostMemory memory = new HostMemory()) {
                ModelConfig config = ModelFolder.config(file);
                Weights whole = ModelFolder.load(file, config, precision, memory);
                for (int rank = 0; rank < 4; rank++) {
                    Weights part = ModelFolder.load(file, config, precision, memory, new ShardTable(config, rank, 4));
                    part.parameters().forEach(p -> assertSlice(p, whole.parameter(p.name()), memory));
                }
            }
        }
    }

    private static void assertSlice(Parameter part, Parameter whole, HostMemory memory) {
        Tensor want = memory.allocate(MemoryKind.WORKSPACE, part.name(), part.group().dtype(), part.shape());
        part.shard().take(whole.value(), want);
        for (long i = 0; i < want.size(); i++) {
            assertThat(part.value().getFlat(i)).as("%s[%d]", want, i).isEqualTo(want.getFlat(i));
        }
    }

    @Test
    void aFolderOfAnotherModelIsRefusedAsOnOneRank(@TempDir Path temporary) {
        Path folder = temporary.resolve("model");
        write(folder, config(true));
        ModelConfig other = config(false);
        try (HuggingFace file = HuggingFace.open(folder); HostMemory memory = new HostMemory()) {
            assertThatThrownBy(() -> ModelFolder.load(file, other, Precision.F32, memory, new ShardTable(other, 1, 2)))
                    .isInstanceOf(InputException.class).hasMessageContaining("lm_head.weight");
        }
    }
}
