package org.transnormer.lightning;

import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.Gpu;
import org.transnormer.linear.NormedProjection;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.Tensor;

/**
 * {@link FeatureAttention} on the GPU. The activation is part of the attention's kernels, but for EXP; LRPE is where
 * sequences have one token; of one or two of these the projection too. The rest is composed of the parts. SPEC section 4.1.
 */
public final class FeatureAttentionCuda implements FeatureAttention {
    private final LightningCuda lightning;
    private final GlaStepCuda step;
    private final ComposedAttention composed;
    /** Whether the composition leaves out sequences of one token. */
    private boolean singleTokensDone;

    /** @param memory for the features of what is composed; taken by {@link #commit} or at the first call */
    public FeatureAttentionCuda(Gpu gpu, LightningCuda lightning, Activation activation, Lrpe lrpe, Memory memory) {
        this.lightning = lightning;
        step = new GlaStepCuda(gpu);
        composed = new ComposedAttention(activation, lrpe, new Part(), memory);
    }

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
            Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last) {
        if (fuses(f, theta)) {
            lightning.forward(q, k, v, f, rates, sequences, mask, initial, o, last);
            return;
        }
        singleTokensDone = f != ActivationFunction.EXP && LightningCuda.hasSingleTokens(sequences);
        if (singleTokensDone) {
            lightning.forwardOfSingleTokens(q, k, v, f, theta, rates, sequences, mask, initial, o, last);
        }
        if (!singleTokensDone || LightningCuda.hasLonger(sequences)) {
            composed.forward(q, k, v, f, theta, rates, sequences, mask, initial, o, last);
        }
    }

    @Override
    public void projected(NormedProjection projection, Tensor q, Tensor k, Tensor v, ActivationFunction f,
            Tensor theta, Tensor rates, Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last) {
        if (step.takes(projection, f, q, theta)) {
            LightningCuda.checkSingleTokens(q, k, v, theta, rates, sequences, mask, initial, o, last);
            step.run(projection, q, k, v, f, theta, rates, sequences, mask, initial, o, last);
        } else {
            FeatureAttention.super.projected(projection, q, k, v, f, theta, rates, sequences, mask, initial, o, last);
        }
    }

    @Override
    public void backward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
            Sequences sequences, Tensor mask, Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk,
            Tensor dv, Tensor dtheta, Tensor dinitial) {
        if (fuses(f, theta)) {
            lightning.backward(q, k, v, f, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
        } else {
            composed.backward(q, k, v, f, theta, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dtheta,
                    dinitial);
        }
    }

    /** Whether sequences of several tokens are one call of the attention's kernels, and not composed. */
    public static boolean fuses(ActivationFunction f, Tensor theta) {
        return f != ActivationFunction.EXP && theta == null;
    }

    /** EXP alone takes its scratch memory at the first call instead. */
    @Override
    public void reserve(DType dtype, long tokens, int sequences, int heads, int d, int dv, boolean withLrpe,
            boolean training) {
        if (withLrpe) {
            composed.reserve(dtype, tokens, sequences, heads, d, dv, true, training);
        }
        lightning.reserve(tokens, sequences, heads, d, dv);
    }

    /** Takes the memory that was announced. */
    public void commit() {
        composed.commit();
    }

    /** The attention of the composition. */
    private final class Part implements LightningAttention {
        @Override
        public void forward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask,
                Tensor initial, Tensor o, Tensor last) {
            if (singleTokensDone) {
                lightning.forwardOfLonger(q, k, v, ActivationFunction.IDENTITY, rates, sequences, mask, initial, o,
                        last);
            } else {
                lightning.forward(q, k, v, rates, sequences, mask, initial, o, last);
            }
        }

        @Override
        public void backward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask,
                Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial) {
            lightning.backward(q, k, v, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
        }

        @Override
        public void reserve(long tokens, int sequences, int heads, int dk, int dv) {
            lightning.reserve(tokens, sequences, heads, dk, dv);
        }
    }
}
