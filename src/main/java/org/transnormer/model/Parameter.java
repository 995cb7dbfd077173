package org.transnormer.model;

import org.transnormer.parallel.Shard;
import org.transnormer.tensor.Tensor;

/**
 * One named parameter: a range of its group's buffer.
 *
 * @param group where it lies
 * @param name as in a checkpoint
 * @param initialisation how a new model fills it
 * @param shard which part of the whole parameter this is, under tensor parallelism
 * @param offset first element in the group's buffers
 * @param exported rows that are in a checkpoint; the others, padding of the vocabulary, are zero
 * @param shape in memory
 * @param saved shape of the whole in a checkpoint
 */
public record Parameter(ParameterGroup group, String name, Initialisation initialisation, Shard shard, long offset,
        long exported, long[] shape, long[] saved) {

    /** How a new model fills a parameter. */
    public enum Initialisation {
        /** Normal with standard deviation init_std. */
        NORMAL,
        /** Normal, the padding token's row zero. */
        EMBEDDING,
        ZERO,
        ONE,
        /** LRPE's 10000^(-2i/D) over the whole hidden width. */
        THETA
    }

    /** Elements in memory. */
    public long elements() {
        long n = 1;
        for (long s : shape) {
            n *= s;
        }
        return n;
    }

    /** Its elements in the group's buffers. */
    public Span span() {
        return new Span(offset, offset + elements());
    }

    /** Those of them that are in a checkpoint. */
    public Span savedSpan() {
        return new Span(offset, offset + exported * (elements() / shape[0]));
    }

    /** This parameter's part of one of its group's buffers, in its shape in memory. */
    public Tensor of(Tensor flat) {
        return Tensor.of(name, flat.dtype(), flat.storage(), flat.offset() + offset, shape);
    }

    /** What the model computes with, in its shape in memory. */
    public Tensor value() {
        return of(group.value());
    }

    /** Its gradient, in its shape in memory. */
    public Tensor gradient() {
        return of(group.gradient()).named("grad." + name);
    }

    /** The part of one of the group's buffers that is in a checkpoint. */
    public Tensor exported(Tensor flat) {
        return of(flat).slice(0, 0, exported);
    }
}
