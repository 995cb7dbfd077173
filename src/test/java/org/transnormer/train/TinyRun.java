package org.transnormer.train;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.data.Document;
import org.transnormer.data.TokenDataset;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.model.Recompute;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tokenizer.ByteTokenizer;

/**
 * The smallest run that has everything: two layers, the first with LRPE, on made-up text whose documents are shorter
 * and longer than a row, so that sequences start in the middle of rows and of documents.
 */
final class TinyRun {
    static final int ROWS = 2;
    static final long LENGTH = 64;
    private static final int DOCUMENTS = 12;
    private static final int SHORTEST = 20;
    private static final int LONGEST = 200;
    private static final int SYLLABLES = 16;

    private TinyRun() {
    }

    static ModelConfig config() {
        ByteTokenizer tokenizer = new ByteTokenizer();
        return new ModelConfig(tokenizer.vocabularySize(), 32, 2, 2, 32, 96, NormType.SRMSNORM, ActivationFunction.SILU,
                ActivationFunction.IDENTITY, Position.LRPE_DECAY, 0, List.of(true, false), DecaySchedule.RELEASED,
                DecayTemperature.BY_LAYER, Gate.LINEAR, true, false, true, 0.02, tokenizer.padId(), tokenizer.bosId(),
                tokenizer.eosId());
    }

    static TrainSettings settings(long steps, int microBatches) {
        return settings(ROWS, LENGTH, steps, microBatches);
    }

    static TrainSettings settings(int rows, long length, long steps, int microBatches) {
        return new TrainSettings(List.of(), 0.2, rows, length, microBatches, steps, 7, "cosine", 3e-3, 0.1, 2, 0, 0.1,
                0.9, 0.95, 1e-8, 1, 0, 0, 2);
    }

    static TokenDataset.Split data() {
        RandomStream random = new RandomStream(5, Purpose.SYNTHETIC, "text");
        List<Document> documents = new ArrayList<>();
        long draw = 0;
        for (int d = 0; d < DOCUMENTS; d++) {
            byte[] text = new byte[SHORTEST + (int) random.below(draw++, LONGEST - SHORTEST + 1)];
            for (int i = 0; i < text.length; i++) {
                int syllable = (int) random.below(draw++, SYLLABLES);
                text[i] = (byte) (i % 2 == 0 ? 'a' + syllable : 'a' + syllable * syllable % 23);
            }
            documents.add(new Document("document " + d, text));
        }
        return TokenDataset.of(new ByteTokenizer(), documents).split(0.2, 7);
    }

    /** A run before its first step. */
    static TrainingRun start(Backend backend, TrainSettings settings, TokenDataset.Split data) {
        return start(backend, settings, data, Recompute.NONE);
    }

    /** A run before its first step. */
    static TrainingRun start(Backend backend, TrainSettings settings, TokenDataset.Split data, Recompute recompute) {
        TrainingRun run = new TrainingRun(backend, config(), settings, data.train(), data.heldOut(), recompute);
        run.weights().initialise(settings.seed());
        run.optimizer().adoptWeights();
        return run;
    }
}
