package org.transnormer.train;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.transnormer.checkpoint.Part;
import org.transnormer.model.Parameter;
import org.transnormer.model.Span;
import org.transnormer.model.Weights;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * What a rank has of the tensors of a checkpoint, whatever the layout: all ranks list the same tensors in the same order.
 * SPEC section 6.3.
 */
final class Parts {

    /**
     * Where the elements of a part lie in the whole parameter.
     *
     * @param first of them in this rank's part of the parameter
     */
    private record Places(Parameter parameter, long[] shape, long first) implements Part.Places {
        @Override
        public long of(long i) {
            return parameter.shard().wholeIndex(first + i, shape);
        }

        @Override
        public long runFrom(long i) {
            return parameter.shard().runFrom(first + i, shape);
        }
    }

    private Parts() {
    }

    /** The weights that this rank keeps, under their own names: what it reads. */
    static List<Part> kept(Weights weights) {
        return weights.parameters().stream().map(p -> values(p.name(), p, p.savedSpan())).toList();
    }

    /** The weights that this rank writes. */
    static List<Part> written(Weights weights) {
        return weights.parameters().stream().map(p -> values(p.name(), p, weights.written(p))).toList();
    }

    /** The optimizer's tensors that this rank updates: what it reads. */
    static List<Part> kept(Optimizer optimizer) {
        return ofOptimizer(optimizer, Parameter::savedSpan);
    }

    /** Those that it writes. */
    static List<Part> written(Optimizer optimizer, Weights weights) {
        return ofOptimizer(optimizer, weights::written);
    }

    /**
     * Master weights where the model's files do not hold them, and the moments. The files hold rounded weights where the
     * optimizer has its own, and where the weights are F64: then they are given once more, exactly.
     */
    private static List<Part> ofOptimizer(Optimizer optimizer, Function<Parameter, Span> elements) {
        List<Part> parts = new ArrayList<>();
        for (Optimizer.State state : optimizer.states()) {
            for (Parameter p : state.group().parameters()) {
                Span span = elements.apply(p);
                if (state.master() != state.group().valueShare()) {
                    parts.add(share("master.", p, span, state.master()));
                } else if (state.master().dtype() == DType.F64) {
                    parts.add(values("master." + p.name(), p, span));
                }
                parts.add(share("m.", p, span, state.m()));
                parts.add(share("v.", p, span, state.v()));
            }
        }
        return parts;
    }

    private static Part values(String name, Parameter p, Span span) {
        Span kept = span.and(p.group().kept());
        return part(name, p, p.group().dtype(), kept, kept.isEmpty() ? null : p.group().kept(kept));
    }

    private static Part share(String prefix, Parameter p, Span span, Tensor share) {
        Span held = span.and(p.group().share());
        return part(prefix + p.name(), p, share.dtype(), held,
                held.isEmpty() ? null : held.from(p.group().share().from()).of(share));
    }

    private static Part part(String name, Parameter p, DType dtype, Span span, Tensor values) {
        return new Part(name, dtype, p.saved(), values, new Places(p, p.shape(), span.from() - p.offset()));
    }
}
