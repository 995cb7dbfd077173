package org.transnormer.train;

import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.LearningRate;
import org.transnormer.backend.Backend;
import org.transnormer.data.EvaluationBatches;
import org.transnormer.data.TokenDataset;
import org.transnormer.data.TrainingBatches;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;

/**
 * All parts of a training run, allocated on one backend. Constructed on a {@link org.transnormer.tensor.PlanMemory}, it
 * says what the run will need without taking it.
 */
public final class TrainingRun {
    private final Weights weights;
    private final TransNormer model;
    private final Optimizer optimizer;
    private final TrainingBatches batches;
    private final Trainer trainer;
    private final Evaluation evaluation;

    public TrainingRun(Backend backend, ModelConfig config, TrainSettings settings, TokenDataset train,
            TokenDataset heldOut, Recompute recompute) {
        config.checkSequence(settings.length());
        Communicator communicator = Communicator.single();
        batches = new TrainingBatches(train, settings.rows(), settings.length(), settings.seed());
        EvaluationBatches windows = Evaluation.batches(config, heldOut, settings.rows(), settings.length());
        weights = new Weights(config, backend.precision(), backend.memory(), true);
        model = new TransNormer(backend, communicator, config, weights, TransNormer.Mode.TRAINING,
                settings.rows() * settings.length(), recompute);
        optimizer = new Optimizer(backend, communicator, weights, new AdamW.Constants(settings.beta1(),
                settings.beta2(), settings.epsilon(), settings.weightDecay()), settings.clip());
        LearningRate schedule = LearningRate.of(settings.schedule(), settings.learningRate(),
                settings.floor() * settings.learningRate(), settings.warmup(), settings.decay(), settings.steps());
        trainer = new Trainer(backend, model, optimizer, schedule, batches, settings.microBatches());
        evaluation = new Evaluation(backend, model, heldOut, windows);
        backend.commit();
    }

    public Weights weights() {
        return weights;
    }

    public TransNormer model() {
        return model;
    }

    public Optimizer optimizer() {
        return optimizer;
    }

    /** Where the training data stands. */
    public TrainingBatches batches() {
        return batches;
    }

    public Trainer trainer() {
        return trainer;
    }

    public Evaluation evaluation() {
        return evaluation;
    }
}
