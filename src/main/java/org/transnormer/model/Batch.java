package org.transnormer.model;

import java.util.List;
import org.transnormer.lightning.Sequences;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.tensor.Buffer;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * What a step works on: tokens, the target of each (already the next token: the model shifts nothing), what sequences
 * they form, and the factor of the loss, 1 / global number of targets, so that accumulation and data parallelism are
 * exact. SPEC section 2.1.
 */
public final class Batch {
    private final Buffer ids;
    private final Buffer targets;
    private final Buffer mask;
    private final Sequences sequences;
    private final Tensor scale;
    private boolean masked;

    /** Room for at most {@code maxSequences} sequences of {@code maxTokens} tokens together. */
    public Batch(Memory memory, DType accumulation, int maxSequences, long maxTokens) {
        ids = Buffer.allocate(memory, MemoryKind.DATA, "ids", DType.I32, maxTokens);
        targets = Buffer.allocate(memory, MemoryKind.DATA, "targets", DType.I32, maxTokens);
        mask = Buffer.allocate(memory, MemoryKind.DATA, "mask", DType.I32, maxTokens);
        scale = memory.allocate(MemoryKind.DATA, "scale", accumulation, 1);
        sequences = Sequences.allocate(memory, maxSequences, maxTokens);
    }

    /** Whole buffer of token ids, (maxTokens) I32, to be filled. */
    public Tensor idBuffer() {
        return ids.rows(ids.maxTokens());
    }

    /** Whole buffer of targets, (maxTokens) I32, to be filled; {@link CrossEntropy#IGNORE} where none counts. */
    public Tensor targetBuffer() {
        return targets.rows(targets.maxTokens());
    }

    /** Whole buffer of the value mask, (maxTokens) I32, to be filled, and used from then on. */
    public Tensor maskBuffer() {
        masked = true;
        return mask.rows(mask.maxTokens());
    }

    /** Tokens that take part. */
    public long tokens() {
        return sequences.tokens();
    }

    /** (T) I32. */
    public Tensor ids() {
        return ids.rows(tokens());
    }

    /** (T) I32. */
    public Tensor targets() {
        return targets.rows(tokens());
    }

    /** (T) I32, or null: nothing is masked. */
    public Tensor mask() {
        return masked ? mask.rows(tokens()) : null;
    }

    public Sequences sequences() {
        return sequences;
    }

    /** (1): what every token's loss is multiplied with. */
    public Tensor scale() {
        return scale;
    }

    /** Makes a device see all of the batch. To be called when it is filled, before the model reads it. */
    public void upload() {
        uploadInputs();
        targets().upload();
        scale.upload();
    }

    /** Makes a device see all but the targets and their factor. */
    public void uploadInputs() {
        inputs().forEach(Tensor::upload);
    }

    /** What {@link #uploadInputs} makes a device see. */
    public List<Tensor> inputs() {
        return masked ? List.of(sequences.all(), ids(), mask()) : List.of(sequences.all(), ids());
    }

    /**
     * Sets the factor of the loss to 1 / count.
     *
     * @param count targets that count, in all micro-batches and on all ranks
     * @throws IllegalArgumentException if none counts: the loss would be 0/0
     */
    public void countTargets(long count) {
        if (count < 1) {
            throw new IllegalArgumentException("no token of the batch has a target: there is nothing to learn from");
        }
        scale.set(0, 1.0 / count);
    }
}
