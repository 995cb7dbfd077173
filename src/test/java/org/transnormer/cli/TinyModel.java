package org.transnormer.cli;

import java.nio.file.Path;
import java.util.List;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Precision;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Weights;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tokenizer.ByteTokenizer;
import org.transnormer.train.ModelFolder;

/** A model folder with random weights: two layers of width 32, the first with LRPE. */
final class TinyModel {
    private TinyModel() {
    }

    static ModelConfig config(int vocabulary) {
        // A large spread, so that no two logits are near and greedy choices are clear.
        return new ModelConfig(vocabulary, 32, 2, 2, 32, 64, NormType.SRMSNORM, ActivationFunction.SILU,
                ActivationFunction.IDENTITY, ModelConfig.Position.LRPE_DECAY, 0, List.of(true, false),
                DecaySchedule.RELEASED, DecayTemperature.BY_LAYER, ModelConfig.Gate.LINEAR, true, false, true, 0.3, 0,
                1, 2);
    }

    /** Writes it, tokenizer included. */
    static Path write(Path folder, int vocabulary) {
        try (HostMemory memory = new HostMemory()) {
            Weights weights = new Weights(config(vocabulary), Precision.F32, memory, false);
            weights.initialise(7);
            ModelFolder.writer(config(vocabulary), weights, Precision.F32).save(folder, new ByteTokenizer()::save);
        }
        return folder;
    }

    static Path write(Path folder) {
        return write(folder, new ByteTokenizer().vocabularySize());
    }
}
