package org.transnormer.gla;

import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.lightning.Sequences;
import org.transnormer.linear.NormedProjection;
import org.transnormer.parallel.RowSums;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * Gated linear attention, the token mixer of TransNormerLLM. SPEC section 4.1.
 *
 * <pre>
 * [q|k|v|u] = norm(x) W_qkvuᵀ           q = φ(q), k = φ(k)           LRPE layers: q = LRPE(q), k = LRPE(k)
 * o = LightningAttention(q, k, v)       y = x + (norm_o(o) ⊙ u) W_outᵀ
 * </pre>
 *
 * The norm of o spans all heads together. Without a gate the projection has no u and norm_o(o) goes straight into
 * W_out. Under tensor parallelism each rank holds its heads' rows of each of q, k, v, u and its columns of W_out: one
 * all-reduce forwards, one backwards, and one number per token for norm_o.
 */
public final class Gla implements TokenMixer {

    /**
     * What the sub-layer is.
     *
     * @param heads heads on this rank
     * @param headDim d_h, channels per head of v
     * @param activation φ
     * @param gated whether there is a gate u
     */
    public record Settings(int heads, int headDim, ActivationFunction activation, boolean gated) {
        /** Channels of o on this rank. */
        public long hidden() {
            return (long) heads * headDim;
        }

        /** Row groups of the projection: q, k, v and u. */
        public int groups() {
            return gated ? 4 : 3;
        }
    }

    /**
     * The parameters, or their gradients; biases and theta null where there are none.
     *
     * @param qkvu (groups · hidden, d)
     * @param qkvuBias (groups · hidden)
     * @param out (d, hidden)
     * @param outBias (d)
     * @param theta (H, d_h) of LRPE
     */
    public record Parameters(Tensor qkvu, Tensor qkvuBias, Tensor out, Tensor outBias, Tensor theta) {
    }

    private final Backend backend;
    private final RowSums sums;
    private final Settings settings;
    private final NormLayer tokenNorm;
    private final NormLayer outputNorm;
    private final Parameters parameters;
    private final Parameters gradients;
    private final Tensor rates;
    private final GlaBuffers.Saved saved;
    private final boolean recomputesAttention;
    private final GlaBuffers.Scratch scratch;

    /**
     * @param sums over the ranks that hold the other heads
     * @param rates decay rates (H)
     * @param gradients null outside training
     * @param saved what the backward needs of the forward; may be shared between layers outside training
     * @param recomputesAttention whether the attention output is not kept but computed again in the backward
     * @param scratch shared between layers
     */
    public Gla(Backend backend, RowSums sums, Settings settings, NormLayer tokenNorm,
            NormLayer outputNorm, Parameters parameters, Parameters gradients, Tensor rates, GlaBuffers.Saved saved,
            boolean recomputesAttention, GlaBuffers.Scratch scratch) {
        this.backend = backend;
        this.sums = sums;
        this.settings = settings;
        this.tokenNorm = tokenNorm;
        this.outputNorm = outputNorm;
        this.parameters = parameters;
        this.gradients = gradients;
        this.rates = rates;
        this.saved = saved;
        this.recomputesAttention = recomputesAttention;
        this.scratch = scratch;
        reserve(scratch.maxTokens());
    }

    private void reserve(long tokens) {
        int sequences = (int) Math.min(tokens, Integer.MAX_VALUE);
        backend.linear().reserve(tokens, parameters.qkvu().dim(1), parameters.qkvu().dim(0));
        backend.linear().reserve(tokens, parameters.out().dim(1), parameters.out().dim(0));
        backend.attention().reserve(backend.precision().activations(), tokens, sequences, settings.heads(),
                settings.headDim(), settings.headDim(), parameters.theta() != null, gradients != null);
    }

    @Override
    public long[] stateShape() {
        return new long[] {settings.heads(), keyDim(), settings.headDim()};
    }

    @Override
    public void forward(Tensor x, Sequences sequences, Tensor mask, LayerStates states, Tensor y, Trace trace,
            String name) {
        saved.bind(x.dim(0));
        scratch.bind(x.dim(0));
        if (gradients == null && !trace.active()) {
            infer(x, sequences, mask, states, y);
            return;
        }
        sums.read(x.dim(0), (from, to) -> {
            Tensor normed = RowSums.part(scratch.normed, from, to);
            tokenNorm.forward(RowSums.part(x, from, to), RowSums.part(saved.tokenStatistics, from, to), null, normed);
            backend.linear().forward(normed, parameters.qkvu(), parameters.qkvuBias(), null,
                    RowSums.part(saved.qkvu, from, to));
        });
        if (trace.composed()) {
            attendByParts(sequences, mask, states, trace, name);
        } else {
            attend(sequences, mask, states);
        }
        if (trace.active()) {
            trace.record(name + ".token_norm", scratch.normed);
            trace.record(name + ".attn", saved.attention);
        }
        if (trace.composed() && settings.gated()) {
            outputNorm.forward(saved.attention, saved.outputStatistics, null, scratch.gated);
            trace.record(name + ".attn_norm", scratch.gated);
            backend.product().forward(saved.u, scratch.gated, scratch.gated);
        } else {
            outputNorm.forward(saved.attention, saved.outputStatistics, saved.u, scratch.gated);
            if (!settings.gated()) {
                trace.record(name + ".attn_norm", scratch.gated);
            }
        }
        if (trace.composed()) {
            project(null, scratch.normed);
            sums.await();
            trace.record(name + ".token_mixer", scratch.normed);
        }
        project(x, y);
    }

    /** The forward where nothing is kept for a backward: norms are left to the projections that read them. */
    private void infer(Tensor x, Sequences sequences, Tensor mask, LayerStates states, Tensor y) {
        boolean first = sums.isFirst();
        NormedProjection projection = new NormedProjection(backend.linear(), tokenNorm, x, saved.tokenStatistics,
                scratch.normed, parameters.qkvu(), parameters.qkvuBias(), saved.qkvu);
        if (sequences.tokens() == sequences.count()) {
            backend.attention().projected(projection, saved.q, saved.k, saved.v, settings.activation(),
                    parameters.theta(), rates, sequences, mask, states.arrive(sequences), saved.attentionHeads,
                    states.last());
            states.leave(sequences);
        } else {
            projection.run();
            attend(sequences, mask, states);
        }
        backend.linear().normed(outputNorm, saved.attention, saved.outputStatistics, saved.u, scratch.gated,
                parameters.out(), first ? parameters.outBias() : null, first ? x : null, y);
        sums.begin(y);
    }

    @Override
    public void backward(Tensor x, Sequences sequences, Tensor mask, LayerStates states, Tensor dy, Tensor dx,
            boolean accumulate) {
        saved.bind(x.dim(0));
        scratch.bind(x.dim(0));
        if (recomputesAttention) {
            attend(sequences, mask, states.again());
        }
        outputNorm.reapply(saved.attention, saved.outputStatistics, saved.u, scratch.gated);
        backend.linear().backwardWeight(scratch.gated, dy, gradients.out(), gradients.outBias(), accumulate);
        backend.linear().backwardInput(dy, parameters.out(), scratch.dattention, false);
        outputNorm.backward(saved.attention, saved.outputStatistics, saved.u, scratch.dattention, scratch.sums, null,
                scratch.dattention, scratch.du);
        backend.attention().backward(saved.q, saved.k, saved.v, settings.activation(), parameters.theta(), rates,
                sequences, mask, states.initial(), scratch.dattentionHeads, states.arriveGradient(sequences),
                scratch.dq,
                scratch.dk, scratch.dv, gradients.theta(), states.initialGradient());
        states.leaveGradient(sequences);
        sums.backward(scratch.dnormed,
                () -> backend.linear().backwardInput(scratch.dqkvu, parameters.qkvu(), scratch.dnormed, false),
                () -> backwardProjection(x, accumulate));
        tokenNorm.backward(x, saved.tokenStatistics, null, scratch.dnormed, scratch.sums, dy, dx, null);
    }

    private void backwardProjection(Tensor x, boolean accumulate) {
        tokenNorm.reapply(x, saved.tokenStatistics, null, scratch.normed);
        backend.linear().backwardWeight(scratch.normed, scratch.dqkvu, gradients.qkvu(), gradients.qkvuBias(),
                accumulate);
    }

    private void attend(Sequences sequences, Tensor mask, LayerStates states) {
        backend.attention().forward(saved.q, saved.k, saved.v, settings.activation(), parameters.theta(), rates,
                sequences, mask, states.arrive(sequences), saved.attentionHeads, states.last());
        states.leave(sequences);
    }

    /** The attention out of its parts, in memory of their own: for a trace that wants to see what a fused twin does not write. */
    private void attendByParts(Sequences sequences, Tensor mask, LayerStates states, Trace trace, String name) {
        Tensor q = feature(saved.q, sequences, trace, name + ".lrpe_q");
        Tensor k = feature(saved.k, sequences, trace, name + ".lrpe_k");
        backend.lightning().forward(q, k, saved.v, rates, sequences, mask, states.arrive(sequences),
                saved.attentionHeads, states.last());
        states.leave(sequences);
    }

    /** LRPE(φ(x)), or φ(x) in layers without LRPE. */
    private Tensor feature(Tensor x, Sequences sequences, Trace trace, String name) {
        Tensor activated = temporary("activated", x.dim(2));
        backend.activation().forward(settings.activation(), x, activated);
        if (parameters.theta() == null) {
            return activated;
        }
        Tensor doubled = temporary("lrpe", 2 * x.dim(2));
        backend.lrpe().forward(activated, parameters.theta(), sequences.positions(), doubled);
        trace.record(name, doubled);
        return doubled;
    }

    private Tensor temporary(String name, long channels) {
        return backend.memory().allocate(MemoryKind.WORKSPACE, name, backend.precision().activations(),
                saved.q.dim(0), settings.heads(), channels);
    }

    /** The output projection; the residual is added on one rank only, since the ranks' results are summed. */
    private void project(Tensor residual, Tensor y) {
        sums.write(y, (from, to, adds) -> backend.linear().forward(RowSums.part(scratch.gated, from, to),
                parameters.out(), adds ? parameters.outBias() : null, adds ? RowSums.part(residual, from, to) : null,
                RowSums.part(y, from, to)));
    }

    private long keyDim() {
        return parameters.theta() == null ? settings.headDim() : 2L * settings.headDim();
    }
}
