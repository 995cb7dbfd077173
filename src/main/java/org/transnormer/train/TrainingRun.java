package org.transnormer.train;

import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.LearningRate;
import org.transnormer.backend.Backend;
import org.transnormer.data.EvaluationBatches;
import org.transnormer.data.TokenDataset;
import org.transnormer.data.TrainingBatches;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.model.SequenceParallel;
import org.transnormer.model.ShardTable;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;

/**
 * All parts of a training run, or of one rank of it, allocated on one backend. Constructed on a {@link org.transnormer.tensor.PlanMemory}, it
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
        this(backend, Mesh.single(), DataParallel.Mode.REPLICATED, config, settings, train, heldOut, recompute);
    }

    /**
     * A rank's part of a run. Every rank calls this. The settings are those of the whole run: ranks share the rows of a
     * micro-batch, and the tokens of a row, so the layout changes no number but by rounding, and a run can go on under
     * another.
     *
     * @param mesh this rank's place; {@link Mesh#planned} where only its memory is planned
     * @throws IllegalArgumentException if the rows of a micro-batch do not divide by the ranks that share them, a row by
     *     those that hold its parts, or the model by those that each layer is split over
     */
    public TrainingRun(Backend backend, Mesh mesh, DataParallel.Mode mode, ModelConfig config, TrainSettings settings,
            TokenDataset train, TokenDataset heldOut, Recompute recompute) {
        config.checkSequence(settings.length());
        Layout layout = mesh.layout();
        int rows = layout.rows(settings.rows());
        long part = layout.part(settings.length());
        Communicator tensor = mesh.tensor();
        SequenceParallel sequence = SequenceParallel.of(mesh.sequence(), rows);
        batches = new TrainingBatches(train, sequence.border(), settings.length(), settings.seed(),
                layout.dataRank(mesh.world().rank()), layout.data());
        EvaluationBatches windows = Evaluation.batches(config, heldOut, rows, settings.length(), layout.sequence());
        weights = new Weights(config, backend.precision(), backend.memory(), true,
                new ShardTable(config, tensor.rank(), tensor.size()), DataParallel.of(mode, mesh.data()));
        model = new TransNormer(backend, tensor, config, weights, TransNormer.Mode.TRAINING, rows * part, recompute,
                sequence);
        optimizer = new Optimizer(backend, tensor, weights, new AdamW.Constants(settings.beta1(),
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
