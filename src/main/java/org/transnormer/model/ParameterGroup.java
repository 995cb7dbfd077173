package org.transnormer.model;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.parallel.Shard;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * Parameters that lie in one padded buffer, so that an optimizer step, a share or a transfer is one range. Gradient,
 * master weights and moments have the same layout. Padding stays zero: its gradient is. SPEC sections 2.3 and 7.3.
 *
 * <p>Ranks that read different data may each update an equal share of it; then the padding makes it divide. A rank keeps
 * the whole, or where a group is gathered its share alone, and has the whole in a {@link Slot} while it is in use.
 */
public final class ParameterGroup {
    /** Elements; 64 bytes in the narrowest type, so that every parameter starts on a cache line in any type. */
    private static final long ALIGNMENT = 32;

    private final String name;
    private final ShardTable shards;
    private final DType dtype;
    private final DType gradientType;
    private final boolean decays;
    private final List<Parameter> parameters = new ArrayList<>();
    private long size;
    private Span share;
    private Slot slot;
    private Tensor value;
    private Tensor gradient;
    private Tensor valueShare;
    private Tensor gradientShare;

    /**
     * @param shards how parameters are split over ranks
     * @param dtype type that the model computes with
     * @param gradientType type of gradient, master weights and moments
     * @param decays whether AdamW's weight decay applies
     */
    ParameterGroup(String name, ShardTable shards, DType dtype, DType gradientType, boolean decays) {
        this.name = name;
        this.shards = shards;
        this.dtype = dtype;
        this.gradientType = gradientType;
        this.decays = decays;
    }

    /**
     * Reserves a range for this rank's part of a parameter.
     *
     * @param exported rows of the whole that a checkpoint holds; those beyond are padding inside
     * @param shape of the whole
     */
    Parameter add(String parameterName, Parameter.Initialisation initialisation, long exported, long... shape) {
        Shard shard = shards.of(parameterName);
        long[] part = shard.part(shape);
        long rows = exported == shape[0] ? part[0] : Math.clamp(exported - shard.rank() * part[0], 0, part[0]);
        long[] saved = shape.clone();
        saved[0] = exported;
        Parameter p = new Parameter(this, parameterName, initialisation, shard, size, rows, part, saved);
        parameters.add(p);
        size = Math.ceilDiv(size + p.elements(), ALIGNMENT) * ALIGNMENT;
        return p;
    }

    /** Reserves a range directly after the last one, so that both are one matrix. */
    Parameter append(String parameterName, Parameter.Initialisation initialisation, long exported, long... shape) {
        Parameter last = parameters.getLast();
        size = last.offset() + last.elements();
        return add(parameterName, initialisation, exported, shape);
    }

    /** Ends the list of parameters: rounds the size up to equal shares, each of which starts on a cache line. */
    void cut(DataParallel data) {
        long unit = ALIGNMENT * data.shares();
        size = Math.ceilDiv(size, unit) * unit;
        long each = size / data.shares();
        share = new Span(data.share() * each, (data.share() + 1) * each);
    }

    /** Takes memory for the whole. */
    void allocate(Memory memory, boolean training) {
        value = memory.allocate(MemoryKind.WEIGHTS, name, dtype, size);
        gradient = training ? memory.allocate(MemoryKind.GRADIENTS, "grad." + name, gradientType, size) : null;
        valueShare = share.size() == size ? value : share.of(value);
        gradientShare = share.size() == size || !training ? gradient : share.of(gradient);
    }

    /** Takes memory for this rank's share; the whole is gathered into a slot. */
    void allocateShare(Memory memory, boolean training, Slot gathered) {
        slot = gathered;
        value = gathered.value();
        gradient = gathered.gradient();
        valueShare = memory.allocate(MemoryKind.WEIGHTS, name, dtype, share.size());
        gradientShare = training
                ? memory.allocate(MemoryKind.GRADIENTS, "grad." + name, gradientType, share.size())
                : null;
    }

    public String name() {
        return name;
    }

    public boolean decays() {
        return decays;
    }

    public List<Parameter> parameters() {
        return List.copyOf(parameters);
    }

    /** Elements, padding included. */
    public long size() {
        return size;
    }

    /** The buffer that the model computes with: (size). Where the group is gathered, others take turns in it. */
    public Tensor value() {
        return value;
    }

    /** (size), or null outside training; as with {@link #value}. */
    public Tensor gradient() {
        return gradient;
    }

    /** The elements that this rank updates. */
    public Span share() {
        return share;
    }

    /** The values of {@link #share}: (share); {@link #value} itself where that is everything. */
    public Tensor valueShare() {
        return valueShare;
    }

    /** The gradient of {@link #share}: (share); {@link #gradient} itself where that is everything. */
    public Tensor gradientShare() {
        return gradientShare;
    }

    /** Whether this rank keeps its share alone. */
    public boolean isGathered() {
        return slot != null;
    }

    Slot slot() {
        return slot;
    }

    /** The elements whose values this rank keeps. */
    public Span kept() {
        return isGathered() ? share : new Span(0, size);
    }

    /** Some of the elements that this rank keeps. */
    public Tensor kept(Span elements) {
        return elements.from(kept().from()).of(isGathered() ? valueShare : value);
    }

    public DType dtype() {
        return dtype;
    }

    /** The type of gradient, master weights and moments. */
    public DType gradientType() {
        return gradientType;
    }
}
