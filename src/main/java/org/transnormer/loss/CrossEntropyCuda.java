package org.transnormer.loss;

import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.LONG;
import static org.transnormer.cuda.ArgumentType.POINTER;

import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Kernel;
import org.transnormer.cuda.Launch;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * CUDA twin, cuda/loss.cu; logits and dlogits both F32 or both BF16, the numbers per token F32 or F64.
 *
 * <p>Differs from {@link CrossEntropyScalar} as {@link CrossEntropyVector} does; of BF16 logits also in: eight
 * exponentials are added in F32 before their sum goes to double, where none is of the maximum, and those of the gradient
 * are good to a few units of F32. {@link #total} adds in a fixed tree.
 *
 * <p>On one rank, logits are read once and their gradient written once wherever a row fits the memory of a
 * multiprocessor: 64,000 BF16 logits do on GPUs of compute capability 8.0 and 9.0.
 */
public final class CrossEntropyCuda implements CrossEntropy {
    private static final String STEM = "loss";
    private static final ArgumentType[] ROWS = {POINTER, LONG, POINTER, LONG, LONG, INT, INT, INT, POINTER, POINTER,
        POINTER, POINTER, POINTER, POINTER, LONG};
    /** Columns up to which 256 threads, several blocks on a multiprocessor, take a row. */
    private static final long SMALL = 8192;
    private static final int SMALL_THREADS = 256;
    private static final int LARGE_THREADS = 1024;
    /** Shared memory that the kernels take beside the row. */
    private static final int STATIC_BYTES = 1024;
    /** Bits of the kernels' {@code wide}: what is F64. */
    private static final int MAX = 1;
    private static final int SUM = 2;
    private static final int TARGET = 4;
    private static final int SCALE = 8;
    private static final int LOSSES = 16;

    private final Gpu gpu;
    private final Forms f32;
    private final Forms bf16;
    private final Launch rescale;
    private final Launch total;

    /** The kernels of one type of logits. */
    private final class Forms {
        private final int bytes;
        private final Launch small;
        private final Launch large;
        private final Launch huge;
        private final Launch apply;
        private final int rowBytes = gpu.device().sharedBytesPerBlock() - STATIC_BYTES;

        Forms(String type, int bytes) {
            this.bytes = bytes;
            small = gpu.launch(STEM, "loss_rows_small_" + type, ROWS).block(SMALL_THREADS);
            Kernel kernel = gpu.kernel(STEM, "loss_rows_large_" + type, ROWS).allowSharedBytes(rowBytes);
            large = Launch.of(gpu.context(), kernel).block(LARGE_THREADS);
            huge = gpu.launch(STEM, "loss_rows_huge_" + type, ROWS).block(LARGE_THREADS);
            apply = gpu.launch(STEM, "loss_apply_" + type, POINTER, LONG, POINTER, LONG, INT, INT, INT, POINTER,
                    POINTER, POINTER, POINTER, POINTER, POINTER, LONG).block(SMALL_THREADS);
        }

        /** The kernel for rows of so many columns, with its grid set. Blocks go on to further rows. */
        Launch rows(long columns, long tokens) {
            long kept = Math.ceilDiv(columns * bytes, 16) * 16;
            int processors = gpu.device().processors();
            if (columns <= SMALL) {
                return small.sharedBytes((int) kept).grid(Math.min(tokens, 4L * processors));
            }
            if (kept <= rowBytes) {
                return large.sharedBytes((int) kept).grid(Math.min(tokens, processors));
            }
            return huge.grid(Math.min(tokens, processors));
        }
    }

    public CrossEntropyCuda(Gpu gpu) {
        this.gpu = gpu;
        f32 = new Forms("f32", DType.F32.bytes());
        bf16 = new Forms("bf16", DType.BF16.bytes());
        rescale = gpu.launch(STEM, "loss_rescale", POINTER, POINTER, POINTER, LONG, INT).block(SMALL_THREADS);
        total = gpu.launch(STEM, "loss_total", POINTER, LONG, POINTER, INT).grid(1).block(LARGE_THREADS);
    }

    @Override
    public void partial(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum,
            Tensor target) {
        CrossEntropyArguments.partial(logits, targets, first, columns, max, sum, target);
        rows(logits, targets, first, columns, max, sum, target, null, null, null);
    }

    @Override
    public void rescale(Tensor max, Tensor globalMax, Tensor sum) {
        CrossEntropyArguments.rescale(max, globalMax, sum);
        long tokens = sum.dim(0);
        if (tokens > 0) {
            rescale.grid(Math.ceilDiv(tokens, SMALL_THREADS)).set(0, DevicePtr.of(max))
                    .set(1, DevicePtr.of(globalMax)).set(2, DevicePtr.of(sum)).set(3, tokens)
                    .set(4, wide(max, MAX) | wide(sum, SUM) | wide(globalMax, TARGET)).on(gpu.stream());
        }
    }

    @Override
    public void apply(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum, Tensor target,
            Tensor scale, Tensor losses, Tensor dlogits) {
        CrossEntropyArguments.apply(logits, targets, first, columns, max, sum, target, scale, losses, dlogits);
        Forms forms = forms(logits, dlogits);
        if (logits.dim(0) == 0) {
            return;
        }
        forms.apply.grid(logits.dim(0)).set(0, DevicePtr.of(logits)).set(1, logits.stride(0))
                .set(2, DevicePtr.of(targets)).set(3, first).set(4, Math.toIntExact(columns))
                .set(5, Math.toIntExact(logits.dim(1))).set(6, wide(max, sum, target, scale, losses))
                .set(7, DevicePtr.of(max)).set(8, DevicePtr.of(sum)).set(9, DevicePtr.of(target))
                .set(10, DevicePtr.of(scale)).set(11, DevicePtr.of(losses)).set(12, dlogits)
                .set(13, stride(dlogits)).on(gpu.stream());
    }

    @Override
    public void lossAndGradient(Tensor logits, Tensor targets, long columns, Tensor max, Tensor sum, Tensor target,
            Tensor scale, Tensor losses, Tensor dlogits) {
        CrossEntropyArguments.apply(logits, targets, 0, columns, max, sum, target, scale, losses, dlogits);
        rows(logits, targets, 0, columns, max, sum, target, scale, losses, dlogits);
    }

    @Override
    public void total(Tensor losses, Tensor sum) {
        CrossEntropyArguments.total(losses, sum);
        total.set(0, DevicePtr.of(losses)).set(1, losses.dim(0)).set(2, DevicePtr.of(sum))
                .set(3, wide(losses, LOSSES) | wide(sum, SUM)).on(gpu.stream());
    }

    /** @param losses null for the first phase alone, scale too */
    private void rows(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum, Tensor target,
            Tensor scale, Tensor losses, Tensor dlogits) {
        Forms forms = forms(logits, dlogits);
        long tokens = logits.dim(0);
        if (tokens == 0) {
            return;
        }
        forms.rows(columns, tokens).set(0, DevicePtr.of(logits)).set(1, logits.stride(0))
                .set(2, DevicePtr.of(targets)).set(3, tokens).set(4, first).set(5, Math.toIntExact(columns))
                .set(6, Math.toIntExact(logits.dim(1))).set(7, wide(max, sum, target, scale, losses))
                .set(8, DevicePtr.of(max)).set(9, DevicePtr.of(sum)).set(10, DevicePtr.of(target))
                .set(11, scale).set(12, losses).set(13, dlogits).set(14, stride(dlogits))
                .on(gpu.stream());
    }

    private Forms forms(Tensor logits, Tensor dlogits) {
        if (logits.dtype() != DType.F32 && logits.dtype() != DType.BF16) {
            throw new IllegalArgumentException("loss: logits is %s, want F32 or BF16".formatted(logits));
        }
        if (dlogits != null && dlogits.dtype() != logits.dtype()) {
            throw new IllegalArgumentException("loss: dlogits is %s, want %s".formatted(dlogits, logits.dtype()));
        }
        return logits.dtype() == DType.F32 ? f32 : bf16;
    }

    private static int wide(Tensor max, Tensor sum, Tensor target, Tensor scale, Tensor losses) {
        return wide(max, MAX) | wide(sum, SUM) | wide(target, TARGET) | wide(scale, SCALE) | wide(losses, LOSSES);
    }

    private static int wide(Tensor t, int bit) {
        return t != null && t.dtype() == DType.F64 ? bit : 0;
    }

    private static long stride(Tensor t) {
        return t == null ? 0 : t.stride(0);
    }
}
