package org.transnormer.train;

import org.transnormer.backend.Backend;
import org.transnormer.data.EvaluationBatches;
import org.transnormer.data.TokenDataset;
import org.transnormer.model.Batch;
import org.transnormer.model.DecodeState;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.TransNormer;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * The loss over a held-out text, every token predicted once. Documents longer than a batch carry their state from one to
 * the next, so the result does not depend on where they are cut, unless positions are absolute. SPEC section 2.6.
 */
public final class Evaluation {

    /**
     * The mean loss.
     *
     * @param nats per target
     * @param targets tokens predicted
     * @param bytes text that they stand for
     */
    public record Result(double nats, long targets, long bytes) {
        public double perplexity() {
            return Math.exp(nats);
        }

        public double bitsPerByte() {
            return nats * targets / (Math.log(2) * bytes);
        }
    }

    private final Backend backend;
    private final TransNormer model;
    private final EvaluationBatches source;
    private final long bytes;
    private final Batch batch;
    private final DecodeState state;
    private final Tensor total;

    /**
     * How a model reads a text: whole documents, or, where its positions end, windows that know nothing of each other.
     *
     * @param rows windows of a batch
     * @param length tokens of a window, at most those that the model has positions for
     */
    public static EvaluationBatches batches(ModelConfig config, TokenDataset data, int rows, long length) {
        return batches(config, data, rows, length, 1);
    }

    /**
     * The same where a batch has no room for whole windows.
     *
     * @param parts of a window that fit: 1 / parts of it
     */
    static EvaluationBatches batches(ModelConfig config, TokenDataset data, int rows, long length, int parts) {
        if (parts > 1) {
            return config.position() == ModelConfig.Position.ABSOLUTE
                    ? EvaluationBatches.pieces(data, rows, length / parts, parts)
                    : EvaluationBatches.carried(data, rows, length / parts);
        }
        return config.position() == ModelConfig.Position.ABSOLUTE
                ? EvaluationBatches.windows(data, rows, Math.min(length, config.maxSequence()))
                : EvaluationBatches.carried(data, rows, length);
    }

    /** @param data what is to be predicted; {@code source} reads it */
    public Evaluation(Backend backend, TransNormer model, TokenDataset data, EvaluationBatches source) {
        this.backend = backend;
        this.model = model;
        this.source = source;
        bytes = data.bytes();
        batch = new Batch(backend.memory(), backend.precision().accumulation(), source.maxSequences(), source.tokens());
        state = source.slots() == 0 ? null : new DecodeState(model, backend.memory(), source.slots());
        total = backend.memory().allocate(MemoryKind.DATA, "evaluation loss", DType.F64, 1);
    }

    /** Reads the source from its start to its end. */
    public Result run() {
        long targets = 0;
        batch.countTargets(1);
        backend.zero(total);
        source.restart();
        while (true) {
            batch.sequences().clear();
            long count = source.next(batch.idBuffer(), batch.targetBuffer(), batch.sequences());
            if (count == 0) {
                total.download();
                return new Result(total.get(0) / targets, targets, bytes);
            }
            targets += count;
            resetStarting();
            batch.upload();
            model.forward(batch, state, Trace.NONE);
            backend.crossEntropy().total(model.losses(batch), total);
        }
    }

    /** A slot whose next sequence starts at position 0 holds the state of a finished document. */
    private void resetStarting() {
        for (int i = 0; i < batch.sequences().count(); i++) {
            if (batch.sequences().slot(i) >= 0 && batch.sequences().start(i) == 0) {
                state.reset(batch.sequences().slot(i));
            }
        }
    }
}
