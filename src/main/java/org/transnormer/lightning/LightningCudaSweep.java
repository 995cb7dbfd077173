package org.transnormer.lightning;

import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.LONG;
import static org.transnormer.cuda.ArgumentType.POINTER;

import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Kernel;
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
    /** Blocks that a call should have at least: two waves on the largest devices. */
    private static final long BLOCKS = 256;
    private static final long SHORTEST_SEGMENT = 512;
    private static final int WHOLE = Integer.MAX_VALUE;
    private static final int MIRRORED = 1;
    private static final int TRANSPOSED_INITIAL = 2;
    private static final int MASK_A = 4;
    private static final int MASK_Y = 32;
    private static final int SKIP_SINGLE_TOKENS = 64;
    private static final int TOTALS = 128;
    private static final int NEED_LAST = 256;
    private static final int THREADS = 256;
    /** As in the kernel: tokens of a chunk, columns of a block, channels at a time. */
    private static final int CHUNK = 64;
    private static final int COLUMNS = 32;
    private static final int SLICE = 32;
    private static final DevicePtr NULL = new DevicePtr(0, 0);
    private static final ArgumentType[] PARAMETERS = {
        POINTER, LONG, LONG, INT, POINTER, LONG, LONG, INT, POINTER, LONG, LONG, INT, POINTER, LONG, LONG,
        POINTER, LONG, LONG, INT, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER,
        INT, INT, INT, INT, INT, INT};
    private static final int TOTALS_AT = PARAMETERS.length - 7;

    private final Gpu gpu;
    private final Workspace workspace;
    private final Launch f32;
    private final Launch bf16;
    private final Launch scan;

    private Launch launch;
    private int heads;
    private int keys;
    private int values;
    private int flags;
    private DevicePtr initial;
    private DevicePtr last;

    LightningCudaSweep(Gpu gpu, Workspace workspace) {
        this.gpu = gpu;
        this.workspace = workspace;
        f32 = sweep(gpu, "lightning_sweep_f32");
        bf16 = sweep(gpu, "lightning_sweep_bf16");
        scan = gpu.launch("lightning", "lightning_scan", POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, INT, INT,
                INT, INT, INT).block(THREADS);
    }

    private static Launch sweep(Gpu gpu, String name) {
        Kernel kernel = gpu.kernel("lightning", name, PARAMETERS).allowSharedBytes(sharedBytes(512));
        return Launch.of(gpu.context(), kernel).block(THREADS);
    }

    private static int sharedBytes(int keys) {
        return Float.BYTES * (Math.ceilDiv(keys, SLICE) * SLICE * COLUMNS + 2 * CHUNK * (SLICE + 4)
                + 2 * CHUNK * COLUMNS + CHUNK + 1);
    }

    /** The operands, the function applied to each, and whether its masked rows count as zero. */
    LightningCudaSweep operands(Tensor a, ActivationFunction fa, boolean maskedA, Tensor b, ActivationFunction fb,
            boolean maskedB, Tensor c, ActivationFunction fc, boolean maskedC) {
        launch = a.dtype() == DType.F32 ? f32 : bf16;
        heads = (int) a.dim(1);
        keys = (int) a.dim(2);
        values = (int) c.dim(2);
        flags = (maskedA ? MASK_A : 0) | (maskedB ? MASK_A << 1 : 0) | (maskedC ? MASK_A << 2 : 0);
        operand(0, a, fa);
        operand(4, b, fb);
        operand(8, c, fc);
        return this;
    }

    private void operand(int at, Tensor x, ActivationFunction f) {
        launch.set(at, DevicePtr.of(x)).set(at + 1, x.stride(0)).set(at + 2, x.stride(1)).set(at + 3, f.ordinal());
    }

    /**
     * Where y goes.
     *
     * @param x if not null, y is multiplied with f'(x)
     * @param masked whether masked rows of y are zero
     */
    LightningCudaSweep output(Tensor y, Tensor x, ActivationFunction f, boolean masked) {
        launch.set(12, DevicePtr.of(y)).set(13, y.stride(0)).set(14, y.stride(1));
        Tensor of = x == null ? y : x;
        operand(15, of, x == null ? ActivationFunction.IDENTITY : f);
        flags |= masked ? MASK_Y : 0;
        return this;
    }

    /** X_0, transposed or not, and where X_T goes; either may be null. */
    LightningCudaSweep states(Tensor before, boolean transposed, Tensor after) {
        initial = pointer(before);
        last = pointer(after);
        flags |= (transposed ? TRANSPOSED_INITIAL : 0) | (after == null ? 0 : NEED_LAST);
        return this;
    }

    void run(Tensor rates, Sequences sequences, Tensor mask, boolean mirrored, boolean skipSingleTokens) {
        flags |= (mirrored ? MIRRORED : 0) | (skipSingleTokens ? SKIP_SINGLE_TOKENS : 0);
        int count = sequences.count();
        int segment = segment(sequences.tokens(), count, heads, values);
        long items = segment == WHOLE ? count : sequences.tokens() / segment + count;
        DevicePtr totals =
                segment == WHOLE ? NULL : DevicePtr.of(workspace.get(items * heads * stateBytes(keys, values)));
        DevicePtr offsets = DevicePtr.of(sequences.offsets());
        DevicePtr slots = DevicePtr.of(sequences.slots());
        launch.set(19, DevicePtr.of(rates)).set(20, offsets).set(21, slots).set(22, pointer(mask)).set(23, initial)
                .set(24, last).set(TOTALS_AT, totals).set(26, count).set(27, heads).set(28, keys).set(29, values)
                .set(30, segment).sharedBytes(sharedBytes(keys))
                .grid(items * heads * Math.ceilDiv(values, COLUMNS));
        if (segment != WHOLE) {
            launch.set(31, flags | TOTALS).on(gpu.stream());
            scan.set(0, DevicePtr.of(rates)).set(1, offsets).set(2, slots).set(3, initial).set(4, last).set(5, totals)
                    .set(6, heads).set(7, keys).set(8, values).set(9, segment).set(10, flags)
                    .grid((long) count * heads, Math.ceilDiv((long) keys * values, THREADS), 1).on(gpu.stream());
        }
        launch.set(31, flags).on(gpu.stream());
    }

    /** Announces both directions: backwards the gradient of q has keys and values change places. */
    void reserve(long tokens, int headCount, int dk, int dv) {
        if (tokens > SHORTEST_SEGMENT) {
            // By the choice of segments there are fewer than three times BLOCKS blocks in a call that is cut.
            long forwards = 3 * BLOCKS * COLUMNS * dk;
            long backwards = 3 * BLOCKS * COLUMNS * dv;
            long all = (tokens / SHORTEST_SEGMENT + BLOCKS) * headCount * dk * dv;
            workspace.reserve(Float.BYTES * Math.min(Math.max(forwards, backwards), all));
        }
    }

    /** Tokens of a segment. */
    private static int segment(long tokens, int count, int heads, int values) {
        long blocks = (long) count * heads * Math.ceilDiv(values, COLUMNS);
        if (blocks >= BLOCKS || tokens <= SHORTEST_SEGMENT) {
            return WHOLE;
        }
        long perSequence = Math.ceilDiv(BLOCKS, blocks);
        long length = Math.ceilDiv(tokens, count * perSequence);
        long segment = Math.max(SHORTEST_SEGMENT, Math.ceilDiv(length, CHUNK) * CHUNK);
        return segment >= tokens ? WHOLE : (int) segment;
    }

    private static long stateBytes(int keys, int values) {
        return (long) Float.BYTES * keys * values;
    }

    private static DevicePtr pointer(Tensor x) {
        return x == null ? NULL : DevicePtr.of(x);
    }
}
