package org.transnormer.lightning;

import org.transnormer.simd.Workers;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * Lightning Attention on the CPU: Lightning Attention-2 in chunks of 64 tokens ({@link LightningChunked}) as
 * register-tiled products, and the plain recurrence ({@link LightningRecurrent}) for sequences of one token. Time is
 * linear in T. SPEC section 3.3.5.
 *
 * <p>What differs from the spec: F32 instead of double, every sum one chain of fused multiply-adds in the order of its
 * index; e^(-r j) is formed in double and rounded to F32, between chunks and between decoding steps to twice that. The
 * three gradients are the forward over again, on other operands and for dk and dv with time reversed, so that products
 * which the spec shares are formed twice: 14 % more work for one kernel instead of three.
 *
 * <p>The numbers of a sequence depend on that sequence alone: not on its neighbours in the buffer, threads or vector
 * width. Outputs do not see later tokens, gradients of keys and values not earlier ones, not even through a NaN.
 */
public final class LightningVector implements LightningAttention {
    private final Workers workers;
    private final Workspace workspace;
    private final LightningSweep sweep;
    private final LightningStep step;

    public LightningVector(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
        this.sweep = new LightningSweep(workers, workspace);
        this.step = new LightningStep(workers, workspace);
    }

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial,
            Tensor o, Tensor last) {
        LightningArguments.forward(q, k, v, rates, sequences, mask, initial, o, last);
        LightningArguments.f32(q, k, v, o, initial, last);
        boolean masked = mask != null;
        int single = 0;
        for (int n = 0; n < sequences.count(); n++) {
            single += sequences.length(n) == 1 ? 1 : 0;
        }
        if (single > 0) {
            step.run(q, k, v, rates, sequences, mask, initial, o, last);
        }
        if (single < sequences.count()) {
            sweep.operands(q, false, k, false, v, masked, o, false).states(initial, false, last)
                    .run(rates, sequences, mask, false, 2);
        }
    }

    @Override
    public void backward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial,
            Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial) {
        LightningArguments.backward(q, k, v, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
        LightningArguments.f32(q, k, v, dout, initial, dlast);
        LightningArguments.f32(dq, dk, dv, dv, dinitial, null);
        boolean masked = mask != null;
        sweep.operands(dout, false, v, masked, k, false, dq, false).states(initial, true, null)
                .run(rates, sequences, mask, false, 1);
        sweep.operands(v, masked, dout, false, q, false, dk, false).states(dlast, true, null)
                .run(rates, sequences, mask, true, 1);
        sweep.operands(k, false, q, false, dout, false, dv, masked).states(dlast, false, dinitial)
                .run(rates, sequences, mask, true, 1);
    }

    @Override
    public void reserve(long tokens, int sequences, int heads, int dk, int dv) {
        long pairs = (long) sequences * heads;
        workspace.reserve(LightningSweep.bytes(workers.threads(), tokens, pairs, dk, dv));
        workspace.reserve(LightningStep.bytes(workers.threads(), dv));
    }
}
