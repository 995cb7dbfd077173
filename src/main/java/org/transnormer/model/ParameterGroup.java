package org.transnormer.model;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.parallel.Shard;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * Parameters that lie in one padded buffer, so that an optimizer step, a shard or a transfer is one range. Gradient,
 * master weights and moments have the same layout. Padding stays zero: its gradient is. SPEC section 2.3.
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
    private Tensor value;
    private Tensor gradient;

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
        Parameter p = new Parameter(this, parameterName, initialisation, shard, size, rows, part);
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

    void allocate(Memory memory, boolean training) {
        value = memory.allocate(MemoryKind.WEIGHTS, name, dtype, size);
        gradient = training ? memory.allocate(MemoryKind.GRADIENTS, "grad." + name, gradientType, size) : null;
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

    /** The buffer that the model computes with: (size). */
    public Tensor value() {
        return value;
    }

    /** (size), or null outside training. */
    public Tensor gradient() {
        return gradient;
    }

    public DType dtype() {
        return dtype;
    }

    /** The type of gradient, master weights and moments. */
    public DType gradientType() {
        return gradientType;
    }
}
