package org.transnormer.lightning;

import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.Call;
import org.transnormer.cuda.Gpu;
import org.transnormer.linear.LinearCudaFew;
import org.transnormer.linear.NormedProjection;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * A projection and the step of the recurrence behind it as one kernel, for one or two sequences of one token. Its blocks wait
 * for each other, so there is one to a multiprocessor at most. cuda/gla_step.cu.
 */
final class GlaStepCuda {
    private static final String STEM = "gla_step";
    private static final int THREADS = 512;
    /** Rows of a state that a block works on at a time. */
    private static final int ROWS = 128;
    /** Features of q and k, and sums of warps. */
    private static final int STATIC_BYTES = 2 * 512 * 4 + 16 * 16 * 4;

    private final LinearCudaFew few;
    private final int processors;
    private final int sharedBytes;
    private final Call[] f32;
    private final Call[] bf16;

    GlaStepCuda(Gpu gpu) {
        few = new LinearCudaFew(gpu);
        processors = gpu.device().processors();
        sharedBytes = few.sharedBytes() - STATIC_BYTES;
        f32 = calls(gpu, "gla_step_f32_");
        bf16 = calls(gpu, "gla_step_bf16_");
    }

    private Call[] calls(Gpu gpu, String kernel) {
        Call[] calls = new Call[LinearCudaFew.TOKENS];
        for (int i = 0; i < calls.length; i++) {
            calls[i] = new Call(gpu, STEM, kernel + (i + 1), LinearCudaFew.PARAMETERS + "hhhhpppppppiiii")
                    .overlapping();
            calls[i].launch().block(THREADS).allowSharedBytes(sharedBytes);
        }
        return calls;
    }

    /** Whether {@link #run} can make this projection for heads like these; each sequence has one token. */
    boolean takes(NormedProjection projection, ActivationFunction f, Tensor q, Tensor theta) {
        return f != ActivationFunction.EXP && few.takes(projection) && few.blocks(projection.w()) <= processors
                && few.bytes(projection) + stateBytes(q, theta) <= sharedBytes;
    }

    void run(NormedProjection projection, Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta,
            Tensor rates, Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last) {
        Call call = (q.dtype() == DType.F32 ? f32 : bf16)[(int) q.dim(0) - 1];
        few.begin(call, projection).heads(q).heads(k).heads(v).heads(o).pointer(theta).pointer(sequences.positions())
                .pointer(rates).pointer(sequences.slots()).pointer(mask).pointer(initial)
                .pointer(last).value((int) q.dim(1)).value((int) q.dim(2)).value((int) v.dim(2)).value(f.ordinal());
        call.launch().sharedBytes((int) (few.bytes(projection) + stateBytes(q, theta)));
        call.enqueue();
    }

    /** Of the rows of a tile of a state, 16 columns each. */
    private static long stateBytes(Tensor q, Tensor theta) {
        long keys = theta == null ? q.dim(2) : 2 * q.dim(2);
        return Math.ceilDiv(keys, ROWS) * THREADS * 16;
    }
}
