package org.transnormer.lightning;

import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.LONG;
import static org.transnormer.cuda.ArgumentType.POINTER;

import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** The recurrence for sequences of one token; others in the call are left alone. */
final class LightningCudaStep {
    /** Columns of the state of one block, as in the kernel. */
    private static final long COLUMNS = 32;
    private static final int THREADS = 256;
    private static final ArgumentType[] PARAMETERS = {
        POINTER, LONG, LONG, POINTER, LONG, LONG, POINTER, LONG, LONG, POINTER, LONG, LONG,
        POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, INT, INT, INT, INT};
    private final Gpu gpu;
    private final Launch f32;
    private final Launch bf16;

    LightningCudaStep(Gpu gpu) {
        this.gpu = gpu;
        f32 = gpu.launch("lightning", "lightning_step_f32", PARAMETERS).block(THREADS).overlapping();
        bf16 = gpu.launch("lightning", "lightning_step_bf16", PARAMETERS).block(THREADS).overlapping();
    }

    void run(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates, Sequences sequences,
            Tensor mask, Tensor initial, Tensor o, Tensor last) {
        Launch launch = q.dtype() == DType.F32 ? f32 : bf16;
        int at = 0;
        for (int i = 0; i < 4; i++) {
            Tensor x = i == 0 ? q : i == 1 ? k : i == 2 ? v : o;
            launch.set(at++, DevicePtr.of(x)).set(at++, x.stride(0)).set(at++, x.stride(1));
        }
        launch.set(at++, theta).set(at++, DevicePtr.of(sequences.positions()))
                .set(at++, DevicePtr.of(rates)).set(at++, DevicePtr.of(sequences.offsets()))
                .set(at++, DevicePtr.of(sequences.slots())).set(at++, mask).set(at++, initial)
                .set(at++, last).set(at++, (int) q.dim(1)).set(at++, (int) q.dim(2))
                .set(at++, (int) v.dim(2)).set(at, f.ordinal());
        launch.grid(sequences.count() * q.dim(1) * Math.ceilDiv(v.dim(2), COLUMNS)).on(gpu.stream());
    }
}
