package org.transnormer.lightning;

import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * Lightning Attention on the GPU, F32 or BF16 tokens, F32 states, up to 512 channels: sequences of one token take the
 * recurrence in one pass over their state, the others go chunk by chunk, one sweep for o and one for each gradient. SPEC
 * section 3.3.6.
 *
 * <p>What differs from the spec: arithmetic in F32. Activations can be applied to q and k where they are read, for
 * {@link FeatureAttentionCuda}. A long sequence is cut into segments where a call has too few heads and sequences to
 * fill a GPU; how depends on the tokens, sequences and heads of the call alone.
 */
public final class LightningCuda implements LightningAttention {
    /** Channels that fit the shared memory of every device. */
    private static final long MOST_CHANNELS = 512;
    private final Workspace workspace;
    private final LightningCudaStep step;
    private final LightningCudaSweep sweep;
    /** Null on other devices. */
    private final LightningHopper hopper;

    public LightningCuda(Gpu gpu, Workspace workspace) {
        this.workspace = workspace;
        step = new LightningCudaStep(gpu);
        sweep = new LightningCudaSweep(gpu, workspace);
        hopper = LightningHopper.available(gpu) ? new LightningHopper(gpu, workspace) : null;
    }

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial,
            Tensor o, Tensor last) {
        forward(q, k, v, ActivationFunction.IDENTITY, rates, sequences, mask, initial, o, last);
    }

    @Override
    public void backward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial,
            Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial) {
        backward(q, k, v, ActivationFunction.IDENTITY, rates, sequences, mask, initial, dout, dlast, dq, dk, dv,
                dinitial);
    }

    @Override
    public void reserve(long tokens, int sequences, int heads, int dk, int dv) {
        announce(workspace, hopper != null, tokens, heads, dk, dv);
    }

    /**
     * The same for a plan, of a GPU that need not be there.
     *
     * @param isHopper whether it has compute capability 9.0
     */
    public static void announce(Workspace workspace, boolean isHopper, long tokens, int heads, int dk, int dv) {
        checkChannels("lightning", Math.max(dk, dv));
        LightningCudaSweep.reserve(workspace, tokens, heads, dk, dv);
        if (isHopper) {
            LightningHopper.reserve(workspace, tokens, heads);
        }
    }

    /** The forward of φ(q), φ(k), v; any φ but EXP, which looks at its neighbours. */
    void forward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor rates, Sequences sequences, Tensor mask,
            Tensor initial, Tensor o, Tensor last) {
        if (hasSingleTokens(sequences)) {
            forwardOfSingleTokens(q, k, v, f, null, rates, sequences, mask, initial, o, last);
        }
        forwardOfLonger(q, k, v, f, rates, sequences, mask, initial, o, last);
    }

    /** The forward of the sequences of one token, of LRPE(φ(q)), LRPE(φ(k)) if there is θ. */
    void forwardOfSingleTokens(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
            Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last) {
        checkSingleTokens(q, k, v, theta, rates, sequences, mask, initial, o, last);
        step.run(q, k, v, f, theta, rates, sequences, mask, initial, o, last);
    }

    static void checkSingleTokens(Tensor q, Tensor k, Tensor v, Tensor theta, Tensor rates, Sequences sequences,
            Tensor mask, Tensor initial, Tensor o, Tensor last) {
        LightningArguments.forward(q, k, v, theta, rates, sequences, mask, initial, o, last);
        checkTypes(q, k, v, o, rates, initial, last);
        checkTheta(theta);
    }

    /** The forward of the other sequences, if there are any. */
    void forwardOfLonger(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor rates, Sequences sequences,
            Tensor mask, Tensor initial, Tensor o, Tensor last) {
        LightningArguments.forward(q, k, v, rates, sequences, mask, initial, o, last);
        checkTypes(q, k, v, o, rates, initial, last);
        if (!hasLonger(sequences)) {
            return;
        }
        if (hopper != null && hopper.covers(q, k, v, f, sequences, o)) {
            hopper.forward(q, k, v, f, rates, sequences, mask, initial, o, last);
        } else {
            sweep.operands(q, f, false, k, f, false, v, ActivationFunction.IDENTITY, true).output(o, null, f, false)
                    .states(initial, false, last).run(rates, sequences, mask, false, true);
        }
    }

    /** Gradients with respect to q, k, v of the forward of φ(q), φ(k), v; any φ but EXP. */
    void backward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor rates, Sequences sequences, Tensor mask,
            Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial) {
        LightningArguments.backward(q, k, v, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
        checkTypes(q, k, v, dout, rates, initial, dlast);
        checkTypes(q, dq, dk, dv, rates, dinitial, null);
        if (sequences.count() == 0) {
            return;
        }
        if (hopper != null && hopper.coversBackward(q, k, v, f, sequences, dout, dq, dk, dv)) {
            hopper.backward(q, k, v, f, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
            return;
        }
        ActivationFunction none = ActivationFunction.IDENTITY;
        sweep.operands(dout, none, false, v, none, true, k, f, false).output(dq, q, f, false)
                .states(initial, true, null).run(rates, sequences, mask, false, false);
        sweep.operands(v, none, true, dout, none, false, q, f, false).output(dk, k, f, false)
                .states(dlast, true, null).run(rates, sequences, mask, true, false);
        sweep.operands(k, f, false, q, f, false, dout, none, false).output(dv, null, none, true)
                .states(dlast, false, dinitial).run(rates, sequences, mask, true, false);
    }

    static boolean hasSingleTokens(Sequences sequences) {
        for (int n = 0; n < sequences.count(); n++) {
            if (sequences.length(n) == 1) {
                return true;
            }
        }
        return false;
    }

    /** From count and tokens alone, so that a recorded step of decoding may be fed other sequences. */
    static boolean hasLonger(Sequences sequences) {
        return sequences.tokens() > sequences.count();
    }

    /** As many of one head as its kernels have room for; LRPE's are twice the projection's. */
    static void checkChannels(Object of, long channels) {
        if (channels > MOST_CHANNELS) {
            throw new IllegalArgumentException(("%s: this twin takes at most %d channels a head, which with LRPE are "
                    + "twice the projection's; got %d").formatted(of, MOST_CHANNELS, channels));
        }
    }

    /** Rows of θ one after the other, as the kernel for single tokens reads them. */
    static void checkTheta(Tensor theta) {
        if (theta == null) {
            return;
        }
        if (theta.dtype() != DType.F32 || !theta.isContiguous()) {
            throw new IllegalArgumentException(theta + ": rates of LRPE are F32 here, without gaps");
        }
        checkChannels(theta, 2 * theta.dim(1));
    }

    private static void checkTypes(Tensor first, Tensor second, Tensor third, Tensor output, Tensor rates,
            Tensor before, Tensor after) {
        DType type = first.dtype();
        for (Tensor x : new Tensor[] {first, second, third, output}) {
            if (x.dtype() != type || type != DType.F32 && type != DType.BF16) {
                throw new IllegalArgumentException("%s beside %s: this twin takes F32 or BF16, one of them".formatted(x,
                        first));
            }
            checkChannels(x, x.dim(2));
        }
        for (Tensor x : new Tensor[] {rates, before, after}) {
            if (x != null && x.dtype() != DType.F32) {
                throw new IllegalArgumentException(x + ": rates and states are F32 here");
            }
        }
    }
}
