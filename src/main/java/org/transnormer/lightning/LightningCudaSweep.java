package org.transnormer.lightning;

import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.POINTER;

import java.util.List;
import java.util.stream.Stream;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * The sweep of SPEC section 3.3.5 over the tokens of every sequence, forwards or mirrored, on the GPU:
 *
 * <pre>
 * y_t = Σ_(s≤t) λ^(t-s) (a_t·b_s) c_s + λ^(t+1) X_0ᵀ a_t       X_T = λ^T X_0 + Σ_s λ^(T-1-s) b_s c_sᵀ
 * </pre>
 *
 * Where sequences, heads and columns are too few blocks to fill a GPU, sequences are cut into segments: their totals
 * from zero states, a scan over them, then the outputs.
 */
final class LightningCudaSweep {
    private static final int MIRRORED = 1;
    private static final int TRANSPOSED_INITIAL = 2;
    private static final int MASK_A = 4;
    private static final int MASK_B = 8;
    private static final int MASK_C = 16;
    private static final int MASK_Y = 32;
    private static final int SKIP_SINGLE_TOKENS = 64;
    private static final int TOTALS = 128;
    private static final int NEED_LAST = 256;
    private static final int SCAN_THREADS = 256;
    /** Elements of BF16 that tensor kernels read at a time. */
    private static final int PIECE = 8;

    private static final LightningCudaKernel PLAIN = LightningCudaKernel.plain();
    /** By rising channels; the first that fits takes a call, unless the next has just the columns that are needed. */
    private static final List<LightningCudaKernel> TENSOR = List.of(LightningCudaKernel.tensor(64, 64, 1, 2),
            LightningCudaKernel.tensor(128, 128, 2, 2), LightningCudaKernel.tensor(128, 64, 1, 1),
            LightningCudaKernel.tensor(256, 64, 2, 1));

    private final Gpu gpu;
    private final Workspace workspace;
    private final LightningCudaKernel f32;
    private final LightningCudaKernel bf16;
    /** Those of {@link #TENSOR} that the device has room for. */
    private final List<LightningCudaKernel> tensor;
    private final Launch scan;

    private final Tensor[] operands = new Tensor[5];
    private final ActivationFunction[] functions = new ActivationFunction[5];
    private int flags;
    private DevicePtr initial;
    private DevicePtr last;

    LightningCudaSweep(Gpu gpu, Workspace workspace) {
        this.gpu = gpu;
        this.workspace = workspace;
        f32 = PLAIN.on(gpu, "lightning", "lightning_sweep_f32").orElseThrow();
        bf16 = PLAIN.on(gpu, "lightning", "lightning_sweep_bf16").orElseThrow();
        tensor = TENSOR.stream().flatMap(kernel -> kernel.on(gpu, "lightning_tensor",
                "lightning_tensor_%dx%d".formatted(kernel.mostKeys(), kernel.columns())).stream()).toList();
        scan = gpu.launch("lightning", "lightning_scan", POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, INT, INT,
                INT, INT, INT).block(SCAN_THREADS);
    }

    /** The operands, the function applied to each, and whether its masked rows count as zero. */
    LightningCudaSweep operands(Tensor a, ActivationFunction fa, boolean maskedA, Tensor b, ActivationFunction fb,
            boolean maskedB, Tensor c, ActivationFunction fc, boolean maskedC) {
        flags = (maskedA ? MASK_A : 0) | (maskedB ? MASK_B : 0) | (maskedC ? MASK_C : 0);
        operand(0, a, fa);
        operand(1, b, fb);
        operand(2, c, fc);
        return this;
    }

    /**
     * Where y goes.
     *
     * @param x if not null, y is multiplied with f'(x)
     * @param masked whether masked rows of y are zero
     */
    LightningCudaSweep output(Tensor y, Tensor x, ActivationFunction f, boolean masked) {
        flags |= masked ? MASK_Y : 0;
        operand(3, y, ActivationFunction.IDENTITY);
        operand(4, x == null ? y : x, x == null ? ActivationFunction.IDENTITY : f);
        return this;
    }

    private void operand(int i, Tensor x, ActivationFunction f) {
        operands[i] = x;
        functions[i] = f;
    }

    /** X_0, transposed or not, and where X_T goes; either may be null. */
    LightningCudaSweep states(Tensor before, boolean transposed, Tensor after) {
        initial = DevicePtr.ofOptional(before);
        last = DevicePtr.ofOptional(after);
        flags |= (transposed ? TRANSPOSED_INITIAL : 0) | (after == null ? 0 : NEED_LAST);
        return this;
    }

    void run(Tensor rates, Sequences sequences, Tensor mask, boolean mirrored, boolean skipSingleTokens) {
        flags |= (mirrored ? MIRRORED : 0) | (skipSingleTokens ? SKIP_SINGLE_TOKENS : 0);
        int count = sequences.count();
        int heads = (int) operands[0].dim(1);
        int keys = (int) operands[0].dim(2);
        int values = (int) operands[2].dim(2);
        LightningCudaKernel kernel = kernel(keys, values);
        int segment = kernel.segment(sequences.tokens(), count, heads, values);
        boolean cut = segment != LightningCudaKernel.WHOLE;
        long items = cut ? sequences.tokens() / segment + count : count;
        DevicePtr totals =
                cut ? DevicePtr.of(workspace.get(Float.BYTES * items * heads * keys * values)) : DevicePtr.NULL;
        DevicePtr offsets = DevicePtr.of(sequences.offsets());
        DevicePtr slots = DevicePtr.of(sequences.slots());
        Launch launch = kernel.launch();
        int at = 0;
        for (int i = 0; i < operands.length; i++) {
            Tensor x = operands[i];
            launch.set(at++, DevicePtr.of(x)).set(at++, x.stride(0)).set(at++, x.stride(1));
            if (i != 3) {
                launch.set(at++, functions[i].ordinal());
            }
        }
        launch.set(at++, DevicePtr.of(rates)).set(at++, offsets).set(at++, slots).set(at++, mask)
                .set(at++, initial).set(at++, last).set(at++, totals).set(at++, count).set(at++, heads)
                .set(at++, keys).set(at++, values).set(at++, segment)
                .sharedBytes(kernel.sharedBytes(keys)).grid(items * heads * kernel.tiles(values));
        if (cut) {
            launch.set(at, flags | TOTALS).on(gpu.stream());
            scan.set(0, DevicePtr.of(rates)).set(1, offsets).set(2, slots).set(3, initial).set(4, last).set(5, totals)
                    .set(6, heads).set(7, keys).set(8, values).set(9, segment).set(10, flags)
                    .grid((long) count * heads, Math.ceilDiv((long) keys * values, SCAN_THREADS), 1).on(gpu.stream());
        }
        launch.set(at, flags).on(gpu.stream());
    }

    /** By types, widths and strides. */
    private LightningCudaKernel kernel(int keys, int values) {
        if (operands[0].dtype() == DType.F32) {
            return f32;
        }
        for (Tensor x : operands) {
            boolean pieces = x.dim(2) % PIECE == 0 && x.stride(0) % PIECE == 0 && x.stride(1) % PIECE == 0
                    && DevicePtr.of(x).address() % (PIECE * Short.BYTES) == 0;
            if (!pieces) {
                return bf16;
            }
        }
        LightningCudaKernel chosen = bf16;
        for (LightningCudaKernel kernel : tensor) {
            boolean fits = keys <= kernel.mostKeys();
            boolean narrower = kernel.mostKeys() == chosen.mostKeys() && values <= kernel.columns();
            if (fits && (chosen == bf16 || narrower)) {
                chosen = kernel;
            }
        }
        return chosen;
    }

    /** Announces both directions: backwards the gradients of q and k have keys and values change places. */
    static void reserve(Workspace workspace, long tokens, int heads, int dk, int dv) {
        Stream.concat(Stream.of(PLAIN), TENSOR.stream()).forEach(kernel -> {
            workspace.reserve(kernel.mostBytes(tokens, heads, dk, dv));
            workspace.reserve(kernel.mostBytes(tokens, heads, dv, dk));
        });
    }
}
