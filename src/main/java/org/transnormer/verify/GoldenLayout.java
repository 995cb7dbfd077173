package org.transnormer.verify;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.eclipse.collections.api.factory.primitive.LongLists;
import org.eclipse.collections.api.list.primitive.ImmutableLongList;
import org.transnormer.backend.Precision;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.Weights;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.PlanMemory;

/**
 * The tensors that a golden file has for a model: names, shapes, and the order in which a run computes them, so that the
 * first one that differs is the one to look at. SPEC section 6.5.
 */
final class GoldenLayout {

    /** What a tensor is part of. Parts that are not required are there as a whole or not at all. */
    enum Part {
        PARAMETER(true, "parameters"),
        FORWARD(true, "activations, logits and losses"),
        PARAMETER_GRADIENT(false, "gradients of the parameters"),
        STREAM_GRADIENT(false, "gradients of the residual stream"),
        INFERENCE(true, "inference"),
        PADDED(false, "padded run");

        final boolean required;
        final String label;

        Part(boolean required, String label) {
            this.required = required;
            this.label = label;
        }
    }

    /** One tensor. */
    record Item(Part part, String name, ImmutableLongList shape) {
    }

    /** The projections and norms of a block in the order in which the backward reaches them. */
    private static final List<String> BACKWARD = List.of("channel_mixer.l3", "channel_mixer.l1", "channel_mixer.l2",
            "channel_norm", "token_mixer.out_proj", "token_mixer.norm", "token_mixer.lrpe", "token_mixer.qkvu_proj",
            "token_norm");

    private final List<Item> items = new ArrayList<>();
    private final ModelConfig config;
    private final long sequences;
    private final long tokens;

    /**
     * @param sequences B
     * @param tokens N, of each sequence
     */
    GoldenLayout(ModelConfig config, long sequences, long tokens) {
        this.config = config;
        this.sequences = sequences;
        this.tokens = tokens;
        List<Parameter> parameters = new Weights(config, Precision.F64, new PlanMemory(), false).parameters();
        for (Parameter p : parameters) {
            items.add(new Item(Part.PARAMETER, p.name(), shape(p)));
        }
        forward();
        backward(parameters);
        inference();
        add(Part.PADDED, "padded.logits", sequences, tokens, config.vocabulary());
        add(Part.PADDED, "padded.infer_logits", sequences, tokens, config.vocabulary());
    }

    /** In the order of computation. */
    List<Item> items() {
        return List.copyOf(items);
    }

    /** What the tensors of some parts take in F64. */
    long bytes(Part... parts) {
        Set<Part> wanted = Set.of(parts);
        return items.stream().filter(item -> wanted.contains(item.part()))
                .mapToLong(item -> MemoryPlan.paddedBytes(1, DType.F64, item.shape().toArray())).sum();
    }

    private void forward() {
        add(Part.FORWARD, "slope_rate", config.layers(), config.heads());
        activation("embed", config.width());
        for (int layer = 0; layer < config.layers(); layer++) {
            String name = "layers." + layer + ".";
            activation(name + "token_norm", config.width());
            if (config.lrpeLayers().get(layer)) {
                add(Part.FORWARD, "act." + name + "lrpe_q", sequences, config.heads(), tokens, 2L * config.headDim());
                add(Part.FORWARD, "act." + name + "lrpe_k", sequences, config.heads(), tokens, 2L * config.headDim());
            }
            activation(name + "attn", config.hidden());
            activation(name + "attn_norm", config.hidden());
            activation(name + "token_mixer", config.width());
            activation(name + "channel_norm", config.width());
            activation(name + "channel_mixer", config.width());
            activation(name + "out", config.width());
        }
        activation("final_norm", config.width());
        add(Part.FORWARD, "logits", sequences, tokens, config.vocabulary());
        add(Part.FORWARD, "token_losses", sequences, tokens - 1);
        add(Part.FORWARD, "loss");
    }

    private void backward(List<Parameter> parameters) {
        gradients(parameters, "lm_head.");
        gradients(parameters, "model.final_norm.");
        for (int layer = config.layers() - 1; layer >= 0; layer--) {
            add(Part.STREAM_GRADIENT, "act_grad.layers." + layer + ".out", sequences, tokens, config.width());
            for (String module : BACKWARD) {
                gradients(parameters, "model.layers." + layer + "." + module + ".");
            }
        }
        add(Part.STREAM_GRADIENT, "act_grad.embed", sequences, tokens, config.width());
        gradients(parameters, "model.embed_positions.");
        gradients(parameters, "model.embed_tokens.");
    }

    private void inference() {
        states("infer.kv_prefill.");
        add(Part.INFERENCE, "infer.logits", sequences, tokens, config.vocabulary());
        states("infer.kv_final.");
    }

    private void states(String name) {
        for (int layer = 0; layer < config.layers(); layer++) {
            long keyDim = config.lrpeLayers().get(layer) ? 2L * config.headDim() : config.headDim();
            add(Part.INFERENCE, name + layer, sequences, config.heads(), keyDim, config.headDim());
        }
    }

    private void gradients(List<Parameter> parameters, String prefix) {
        for (Parameter p : parameters) {
            if (p.name().startsWith(prefix)) {
                items.add(new Item(Part.PARAMETER_GRADIENT, "grad." + p.name(), shape(p)));
            }
        }
    }

    private void activation(String name, long width) {
        add(Part.FORWARD, "act." + name, sequences, tokens, width);
    }

    private void add(Part part, String name, long... shape) {
        items.add(new Item(part, name, LongLists.immutable.of(shape)));
    }

    private static ImmutableLongList shape(Parameter p) {
        long[] shape = p.shape().clone();
        shape[0] = p.exported();
        return LongLists.immutable.of(shape);
    }
}
