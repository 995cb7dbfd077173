package org.transnormer.train;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.EnvironmentException;
import org.transnormer.adamw.LearningRate;
import org.transnormer.backend.Backend;
import org.transnormer.data.BatchSource;
import org.transnormer.model.Batch;
import org.transnormer.model.DataParallel;
import org.transnormer.model.TransNormer;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * Training steps: micro-batches, their loss and gradients, clipping, AdamW. SPEC section 2.6. The loss and the gradient
 * are means over all targets of the step, however many micro-batches and ranks they come in; every rank has the same.
 */
public final class Trainer {

    /**
     * What a step did.
     *
     * @param step number of the step, from 1
     * @param loss mean over its targets, nats, before the update
     * @param gradientNorm global L2 norm before clipping
     * @param tokens tokens it read, on all ranks
     */
    public record Outcome(long step, double loss, double gradientNorm, double learningRate, long tokens) {
    }

    private final Backend backend;
    private final TransNormer model;
    private final Optimizer optimizer;
    private final LearningRate schedule;
    private final BatchSource source;
    private final List<Batch> microBatches = new ArrayList<>();
    private final DataParallel data;
    private final Tensor total;
    private final Tensor counts;
    private long step;

    /**
     * @param microBatches how many batches of the source make one step
     */
    public Trainer(Backend backend, TransNormer model, Optimizer optimizer, LearningRate schedule, BatchSource source,
            int microBatches) {
        this.backend = backend;
        this.model = model;
        this.optimizer = optimizer;
        this.schedule = schedule;
        this.source = source;
        this.data = model.weights().dataParallel();
        for (int i = 0; i < microBatches; i++) {
            this.microBatches.add(new Batch(backend.memory(), backend.precision().accumulation(),
                    source.maxSequences(), source.tokens()));
        }
        total = backend.memory().allocate(MemoryKind.DATA, "loss", DType.F64, 1);
        counts = backend.memory().allocate(MemoryKind.DATA, "counts", DType.F64, 2);
    }

    /** Steps done. */
    public long step() {
        return step;
    }

    /** Continues after step {@code done} of an earlier run, whose weights, moments and data position are restored. */
    public void resumeAfter(long done) {
        step = done;
    }

    /**
     * One step.
     *
     * @throws EnvironmentException if the loss or the gradient is not finite
     */
    public Outcome next() {
        long targets = 0;
        long tokens = 0;
        for (Batch batch : microBatches) {
            batch.sequences().clear();
            targets += source.next(batch.idBuffer(), batch.targetBuffer(), batch.sequences());
            tokens += batch.tokens();
        }
        if (data.communicator().size() > 1) {
            counts.set(0, targets);
            counts.set(1, tokens);
            counts.upload();
            data.communicator().allReduceSum(counts);
            counts.download();
            targets = (long) counts.get(0);
            tokens = (long) counts.get(1);
        }
        backend.zero(total);
        int last = microBatches.size() - 1;
        for (int i = 0; i <= last; i++) {
            Batch batch = microBatches.get(i);
            batch.countTargets(targets);
            batch.upload();
            model.forward(batch, null, Trace.NONE);
            backend.crossEntropy().total(model.backward(batch, i > 0, i == last, Trace.NONE), total);
        }
        data.communicator().allReduceSum(total);
        double learningRate = schedule.at(step + 1);
        optimizer.step(step + 1, learningRate);
        step++;
        total.download();
        Outcome outcome = new Outcome(step, total.get(0) / targets, optimizer.gradientNorm(), learningRate, tokens);
        if (!Double.isFinite(outcome.loss()) || !Double.isFinite(outcome.gradientNorm())) {
            throw diverged("the loss is %s and the gradient norm %s at step %d"
                    .formatted(outcome.loss(), outcome.gradientNorm(), step));
        }
        return outcome;
    }

    /**
     * The end of a run whose numbers are no numbers any more.
     *
     * @param what which
     */
    public static EnvironmentException diverged(String what) {
        return new EnvironmentException(what, "nothing of this step is saved: start again with a lower --lr, or resume "
                + "from the last checkpoint; should that end the same way, move it away to resume from the one before");
    }
}
