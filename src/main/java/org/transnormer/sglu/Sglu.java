package org.transnormer.sglu;

import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.parallel.RowSums;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * Simple gated linear unit, the channel mixer of TransNormerLLM. SPEC section 4.2.
 *
 * <pre>
 * [a|b] = norm(x) [W1;W2]ᵀ          y = x + (φ(a) ⊙ b) W3ᵀ          φ is the identity: that is the "simple"
 * </pre>
 *
 * W1 and W2 lie one after the other, so that one product serves both. Under tensor parallelism they are split by output
 * and W3 by input: one all-reduce forwards, one backwards.
 */
public final class Sglu implements ChannelMixer {

    /**
     * The parameters, or their gradients; biases null where there are none.
     *
     * @param up W1 over W2, (2g, d)
     * @param upBias (2g)
     * @param down W3, (d, g)
     * @param downBias (d)
     */
    public record Parameters(Tensor up, Tensor upBias, Tensor down, Tensor downBias) {
    }

    private final Backend backend;
    private final RowSums sums;
    private final ActivationFunction activation;
    private final NormLayer norm;
    private final Parameters parameters;
    private final Parameters gradients;
    private final SgluBuffers.Saved saved;
    private final boolean recomputesUp;
    private final SgluBuffers.Scratch scratch;

    /**
     * @param sums over the ranks that hold the other channels
     * @param gradients null outside training
     * @param saved what the backward needs of the forward; may be shared between layers outside training, and where it
     *     is computed again
     * @param recomputesUp whether the up projection is not kept but computed again in the backward
     * @param scratch shared between layers
     */
    public Sglu(Backend backend, RowSums sums, ActivationFunction activation, NormLayer norm,
            Parameters parameters, Parameters gradients, SgluBuffers.Saved saved, boolean recomputesUp,
            SgluBuffers.Scratch scratch) {
        this.backend = backend;
        this.sums = sums;
        this.activation = activation;
        this.norm = norm;
        this.parameters = parameters;
        this.gradients = gradients;
        this.saved = saved;
        this.recomputesUp = recomputesUp;
        this.scratch = scratch;
        backend.linear().reserve(scratch.maxTokens(), parameters.up().dim(1), parameters.up().dim(0));
        backend.linear().reserve(scratch.maxTokens(), parameters.down().dim(1), parameters.down().dim(0));
    }

    @Override
    public void forward(Tensor x, Tensor y, Trace trace, String name) {
        saved.bind(x.dim(0));
        scratch.bind(x.dim(0));
        if (gradients == null && !trace.active()) {
            infer(x, y);
            return;
        }
        up(x);
        if (trace.active()) {
            trace.record(name + ".channel_norm", scratch.normed);
        }
        gate();
        if (trace.composed()) {
            project(null, scratch.normed);
            sums.await();
            trace.record(name + ".channel_mixer", scratch.normed);
        }
        project(x, y);
    }

    private void up(Tensor x) {
        sums.read(x.dim(0), (from, to) -> {
            Tensor normed = RowSums.part(scratch.normed, from, to);
            norm.forward(RowSums.part(x, from, to), RowSums.part(saved.statistics, from, to), null, normed);
            backend.linear().forward(normed, parameters.up(), parameters.upBias(), null,
                    RowSums.part(saved.ab, from, to));
        });
    }

    /** The forward where nothing is kept for a backward: norm and product are left to the projections that read them. */
    private void infer(Tensor x, Tensor y) {
        boolean first = sums.isFirst();
        backend.linear().normed(norm, x, saved.statistics, null, scratch.normed, parameters.up(), parameters.upBias(),
                null, saved.ab);
        backend.linear().product(backend.product(), activated(), saved.b, scratch.product, parameters.down(),
                first ? parameters.downBias() : null, first ? x : null, y);
        sums.begin(y);
    }

    @Override
    public void backward(Tensor x, Tensor dy, Tensor dx, boolean accumulate) {
        saved.bind(x.dim(0));
        scratch.bind(x.dim(0));
        if (recomputesUp) {
            up(x);
        }
        backend.linear().backwardInput(dy, parameters.down(), scratch.dproduct, false);
        if (activation == ActivationFunction.IDENTITY) {
            backend.product().backwardAndForward(saved.a, saved.b, scratch.dproduct, scratch.da, scratch.db,
                    scratch.product);
            backend.linear().backwardWeight(scratch.product, dy, gradients.down(), gradients.downBias(), accumulate);
        } else {
            gate();
            backend.linear().backwardWeight(scratch.product, dy, gradients.down(), gradients.downBias(), accumulate);
            backend.activation().forward(activation, saved.a3, scratch.product3);
            backend.product().backward(scratch.product, saved.b, scratch.dproduct, scratch.da, scratch.db);
            backend.activation().backward(activation, saved.a3, scratch.da3, scratch.da3);
        }
        sums.backward(scratch.dnormed,
                () -> backend.linear().backwardInput(scratch.dab, parameters.up(), scratch.dnormed, false),
                () -> backwardUp(x, accumulate));
        norm.backward(x, saved.statistics, null, scratch.dnormed, scratch.sums, dy, dx, null);
    }

    private void backwardUp(Tensor x, boolean accumulate) {
        if (!recomputesUp) {
            norm.reapply(x, saved.statistics, null, scratch.normed);
        }
        backend.linear().backwardWeight(scratch.normed, scratch.dab, gradients.up(), gradients.upBias(), accumulate);
    }

    /** product = φ(a) ⊙ b. */
    private void gate() {
        backend.product().forward(activated(), saved.b, scratch.product);
    }

    /** φ(a): a itself, or in the place of the product. */
    private Tensor activated() {
        if (activation == ActivationFunction.IDENTITY) {
            return saved.a;
        }
        backend.activation().forward(activation, saved.a3, scratch.product3);
        return scratch.product;
    }

    /** The output projection; the residual is added on one rank only, since the ranks' results are summed. */
    private void project(Tensor residual, Tensor y) {
        sums.write(y, (from, to, adds) -> backend.linear().forward(RowSums.part(scratch.product, from, to),
                parameters.down(), adds ? parameters.downBias() : null,
                adds ? RowSums.part(residual, from, to) : null, RowSums.part(y, from, to)));
    }
}
