package org.transnormer.adamw;

import static org.transnormer.cuda.ArgumentType.DOUBLE;
import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.LONG;
import static org.transnormer.cuda.ArgumentType.POINTER;

import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * CUDA twin, cuda/adamw.cu; gradient F32. Differs from {@link GradientNormScalar} in the order of the sum only: up to
 * 1024 ranges of a length that follows from the size, each summed by the threads of a block and a tree, joined in a tree.
 */
public final class GradientNormCuda implements GradientNorm {
    private static final String STEM = "adamw";
    private static final int THREADS = 1024;
    /** Ranges at most, which one block joins. */
    private static final long RANGES = THREADS;
    /** What a range is a multiple of: 16 elements a thread. */
    private static final long UNIT = 16 * THREADS;

    private final Gpu gpu;
    private final Workspace workspace;
    private final Launch partial;
    private final Launch join;
    private final Launch apply;

    public GradientNormCuda(Gpu gpu, Workspace workspace) {
        this.gpu = gpu;
        this.workspace = workspace;
        announce(workspace);
        partial = gpu.launch(STEM, "adamw_norm_partial", POINTER, LONG, LONG, POINTER).block(THREADS);
        join = gpu.launch(STEM, "adamw_norm_join", POINTER, INT, POINTER).block(THREADS);
        apply = gpu.launch(STEM, "adamw_norm_apply", POINTER, DOUBLE, POINTER, POINTER);
    }

    /** What it takes of the scratch memory, for a plan too, of a GPU that need not be there. */
    public static void announce(Workspace workspace) {
        workspace.reserve(RANGES * Double.BYTES);
    }

    @Override
    public void partial(Tensor gradient, Tensor total) {
        AdamWArguments.partial(gradient, total);
        AdamWArguments.type("gradient", gradient, DType.F32);
        long size = gradient.size();
        if (size == 0) {
            return;
        }
        long range = Math.ceilDiv(size, RANGES * UNIT) * UNIT;
        long ranges = Math.ceilDiv(size, range);
        DevicePtr sums = DevicePtr.of(workspace.get(RANGES * Double.BYTES));
        partial.grid(ranges).set(0, DevicePtr.of(gradient)).set(1, size).set(2, range).set(3, sums).on(gpu.stream());
        join.set(0, sums).set(1, (int) ranges).set(2, DevicePtr.of(total)).on(gpu.stream());
    }

    @Override
    public void apply(Tensor total, double limit, Tensor norm, Tensor clip) {
        AdamWArguments.apply(total, limit, norm, clip);
        apply.set(0, DevicePtr.of(total)).set(1, limit).set(2, DevicePtr.of(norm)).set(3, DevicePtr.of(clip))
                .on(gpu.stream());
    }
}
