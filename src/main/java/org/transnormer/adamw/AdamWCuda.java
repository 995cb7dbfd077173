package org.transnormer.adamw;

import static org.transnormer.cuda.ArgumentType.DOUBLE;
import static org.transnormer.cuda.ArgumentType.FLOAT;
import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.LONG;
import static org.transnormer.cuda.ArgumentType.POINTER;

import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * CUDA twin, cuda/adamw.cu: one pass over memory; master, gradient and moments F32, weight F32 or BF16. The arithmetic
 * is {@link AdamWVector}'s, bit for bit. Scalars are read on the device.
 */
public final class AdamWCuda implements AdamW {
    private static final String STEM = "adamw";
    private static final int THREADS = 256;
    /** Elements of a block. */
    private static final long BLOCK = 8 * THREADS;
    /** Bytes to which F32 tensors are aligned where four elements go at a time; half of it for BF16. */
    private static final long ALIGNMENT = 16;

    private final Gpu gpu;
    private final Launch step32;
    private final Launch step16;

    public AdamWCuda(Gpu gpu) {
        this.gpu = gpu;
        ArgumentType[] step = {POINTER, POINTER, POINTER, POINTER, POINTER, LONG, INT, POINTER, FLOAT, FLOAT, FLOAT,
            DOUBLE};
        step32 = gpu.launch(STEM, "adamw_step_f32", step).block(THREADS);
        step16 = gpu.launch(STEM, "adamw_step_bf16", step).block(THREADS);
    }

    @Override
    public void step(Tensor master, Tensor weight, Tensor gradient, Tensor m, Tensor v, Constants constants,
            boolean decays, Tensor scalars) {
        AdamWArguments.step(master, weight, gradient, m, v, scalars);
        AdamWArguments.type("master", master, DType.F32);
        AdamWArguments.type("gradient", gradient, DType.F32);
        AdamWArguments.type("m", m, DType.F32);
        AdamWArguments.type("v", v, DType.F32);
        AdamWArguments.type("weight", weight, DType.F32, DType.BF16);
        if (master.size() == 0) {
            return;
        }
        DevicePtr w = DevicePtr.of(master);
        DevicePtr out = DevicePtr.of(weight);
        DevicePtr g = DevicePtr.of(gradient);
        DevicePtr mean = DevicePtr.of(m);
        DevicePtr square = DevicePtr.of(v);
        boolean narrow = weight.dtype() == DType.BF16;
        if (out.address() == w.address()) {
            out = DevicePtr.NULL;
        }
        long all = w.address() | g.address() | mean.address() | square.address()
                | (narrow ? 2 * out.address() : out.address());
        (narrow ? step16 : step32).grid(Math.ceilDiv(master.size(), BLOCK)).set(0, w).set(1, out).set(2, g)
                .set(3, mean).set(4, square).set(5, master.size()).set(6, all % ALIGNMENT == 0 ? 1 : 0)
                .set(7, DevicePtr.of(scalars)).set(8, (float) (1 - constants.beta1()))
                .set(9, (float) (1 - constants.beta2())).set(10, (float) constants.epsilon())
                .set(11, decays ? constants.weightDecay() : 0.0).on(gpu.stream());
    }
}
