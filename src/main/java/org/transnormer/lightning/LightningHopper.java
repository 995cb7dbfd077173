package org.transnormer.lightning;

import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.LONG;
import static org.transnormer.cuda.ArgumentType.POINTER;
import static org.transnormer.cuda.ArgumentType.TENSOR_MAP;

import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.cuda.TensorMap;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * Lightning Attention on compute capability 9.0, for what {@link #covers} and {@link #coversBackward} say: BF16, 128
 * channels, SiLU or nothing on q and k. Sequences of one token are left to {@link LightningCudaStep} in the forward. SPEC
 * section 3.3.7.
 *
 * <p>What differs from the spec: products of BF16 operands, summed in F32: φ(q), φ(k), weighted keys, the weighted scores
 * of a chunk and the state before it are rounded to BF16 where they are multiplied; states are kept in F32. A NaN or
 * infinity reaches all of its chunk of 64 tokens, earlier ones too.
 */
final class LightningHopper {
    private static final String KERNELS = "lightning_hopper";
    private static final String FORWARD = KERNELS + "_forward";
    private static final String BACKWARD = KERNELS + "_backward";
    private static final String SEGMENTS = KERNELS + "_segments";
    private static final int CHANNELS = 128;
    private static final int CHUNK = 64;
    private static final int MOST_SEQUENCES = 65_535;
    /** Blocks that run at a time on an H100, one on each multiprocessor. A constant, so that shapes alone decide. */
    private static final int BLOCKS = 132;
    private static final int SHORTEST_SEGMENT = 512;
    private static final int WHOLE = Integer.MAX_VALUE;
    private static final long STATE_BYTES = (long) Float.BYTES * CHANNELS * CHANNELS;

    /** As in the kernels: tiles of 64 tokens, states in BF16, barriers. */
    private static final int TILE_BYTES = CHUNK * CHANNELS * 2;
    private static final int PUBLISHED_BYTES = 2 * CHANNELS * CHANNELS * 2;
    private static final int BARRIER_BYTES = 128;
    private static final int FORWARD_BYTES = 9 * TILE_BYTES + PUBLISHED_BYTES + BARRIER_BYTES;
    private static final int QUERIES_BYTES = 8 * TILE_BYTES + PUBLISHED_BYTES + BARRIER_BYTES;
    private static final int KEYS_BYTES = 9 * TILE_BYTES + PUBLISHED_BYTES + BARRIER_BYTES;
    private static final int TOTALS_BYTES = 12 * TILE_BYTES + BARRIER_BYTES;
    private static final int SCAN_THREADS = 256;
    private static final int SCAN_BLOCKS = CHANNELS * CHANNELS / (4 * SCAN_THREADS);

    private final Gpu gpu;
    private final Workspace workspace;
    private final TensorMap qMap;
    private final TensorMap kMap;
    private final TensorMap vMap;
    private final TensorMap doutMap;
    private final Launch forward;
    private final Launch queries;
    private final Launch keys;
    private final Launch totals;
    private final Launch scan;

    private int count;
    private int heads;
    private int segment;
    private long segments;
    private DevicePtr rates;
    private DevicePtr offsets;
    private DevicePtr slots;

    LightningHopper(Gpu gpu, Workspace workspace) {
        this.gpu = gpu;
        this.workspace = workspace;
        qMap = new TensorMap(gpu.context());
        kMap = new TensorMap(gpu.context());
        vMap = new TensorMap(gpu.context());
        doutMap = new TensorMap(gpu.context());
        forward = launch(FORWARD, "forward_bf16", 512, FORWARD_BYTES, TENSOR_MAP, TENSOR_MAP, TENSOR_MAP,
                POINTER, POINTER, POINTER, LONG, LONG, POINTER, POINTER, POINTER, POINTER,
                POINTER, POINTER, POINTER, LONG, LONG, POINTER, INT, INT, INT, INT);
        queries = launch(BACKWARD, "queries_bf16", 512, QUERIES_BYTES, TENSOR_MAP, TENSOR_MAP, TENSOR_MAP, TENSOR_MAP,
                POINTER, POINTER, POINTER, LONG, LONG, POINTER, POINTER, POINTER, POINTER,
                POINTER, POINTER, POINTER, LONG, LONG, POINTER, LONG, LONG, INT, INT, INT, INT);
        keys = launch(BACKWARD, "keys_bf16", 512, KEYS_BYTES, TENSOR_MAP, TENSOR_MAP, TENSOR_MAP, TENSOR_MAP,
                POINTER, POINTER, POINTER, LONG, LONG, POINTER, POINTER, POINTER, POINTER,
                POINTER, POINTER, POINTER, LONG, LONG, POINTER, POINTER, LONG, LONG, POINTER, INT, INT, INT, INT);
        totals = launch(SEGMENTS, "totals_bf16", 384, TOTALS_BYTES, TENSOR_MAP, TENSOR_MAP, TENSOR_MAP, TENSOR_MAP,
                POINTER, POINTER, POINTER, LONG, LONG, POINTER, POINTER, POINTER,
                POINTER, LONG, LONG, POINTER, POINTER, INT, INT, INT, INT);
        scan = gpu.launch(SEGMENTS, KERNELS + "_scan_f32", POINTER, POINTER, POINTER, POINTER, POINTER, INT, INT, INT,
                INT).block(SCAN_THREADS);
    }

    private Launch launch(String stem, String kernel, int threads, int sharedBytes, ArgumentType... types) {
        return Launch.of(gpu.context(), gpu.kernel(stem, KERNELS + "_" + kernel, types).allowSharedBytes(sharedBytes))
                .block(threads).sharedBytes(sharedBytes);
    }

    /** Whether the device has what the kernels need. */
    static boolean available(Gpu gpu) {
        return gpu.usesHopper();
    }

    /** Whether a forward can be done here. */
    boolean covers(Tensor q, Tensor k, Tensor v, ActivationFunction f, Sequences sequences, Tensor o) {
        return (f == ActivationFunction.SILU || f == ActivationFunction.IDENTITY)
                && sequences.count() <= MOST_SEQUENCES && q.dim(2) == CHANNELS && v.dim(2) == CHANNELS
                && alike(q, k) && alike(q, v) && TensorMap.covers(o);
    }

    /** Whether a backward can be done here. */
    boolean coversBackward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Sequences sequences, Tensor dout,
            Tensor dq, Tensor dk, Tensor dv) {
        return covers(q, k, v, f, sequences, dout) && alike(dq, dk) && alike(dq, dv);
    }

    private static boolean alike(Tensor x, Tensor y) {
        return TensorMap.covers(x) && TensorMap.covers(y) && x.stride(0) == y.stride(0) && x.stride(1) == y.stride(1);
    }

    /** Announces calls of up to this size. */
    static void reserve(Workspace workspace, long tokens, int headCount) {
        // There are segments only where all heads and sequences are fewer than BLOCKS, and then at most BLOCKS / pairs
        // and one more of each sequence.
        if (tokens > SHORTEST_SEGMENT && headCount < BLOCKS) {
            workspace.reserve(2 * 2 * BLOCKS * STATE_BYTES);
        }
    }

    void forward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor decay, Sequences sequences, Tensor mask,
            Tensor initial, Tensor o, Tensor last) {
        plan(q, decay, sequences);
        DevicePtr states = DevicePtr.NULL;
        if (segment != WHOLE) {
            states = DevicePtr.of(workspace.get(segments * heads * STATE_BYTES));
            totals(q, k, v, f, mask, null, states, DevicePtr.NULL);
            scan(states, initial, 0);
        }
        int i = common(forward.set(0, qMap.heads(q, CHUNK)).set(1, kMap.heads(k, CHUNK)).set(2, vMap.heads(v, CHUNK)),
                3,
                q, k, v);
        forward.set(i++, slots).set(i++, mask).set(i++, initial).set(i++, states)
                .set(i++, o).set(i++, o.stride(0)).set(i++, o.stride(1)).set(i++, last);
        run(forward, i, f);
    }

    void backward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor decay, Sequences sequences, Tensor mask,
            Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial) {
        plan(q, decay, sequences);
        DevicePtr states = DevicePtr.NULL;
        DevicePtr gradients = DevicePtr.NULL;
        if (segment != WHOLE) {
            long bytes = segments * heads * STATE_BYTES;
            DevicePtr scratch = DevicePtr.of(workspace.get(2 * bytes));
            states = scratch.slice(0, bytes);
            gradients = scratch.slice(bytes, bytes);
            totals(q, k, v, f, mask, dout, states, gradients);
            scan(states, initial, 0);
            scan(gradients, dlast, 1);
        }
        int i = commonBackward(queries, q, k, v, mask, initial, states, dout);
        queries.set(i++, dq).set(i++, dq.stride(0)).set(i++, dq.stride(1));
        run(queries, i, f);
        i = commonBackward(keys, q, k, v, mask, dlast, gradients, dout);
        keys.set(i++, dk).set(i++, dv).set(i++, dk.stride(0)).set(i++, dk.stride(1))
                .set(i++, dinitial);
        run(keys, i, f);
    }

    /** How sequences are cut: from tokens and sequences of the call, and not at all if none is long enough. */
    private void plan(Tensor q, Tensor decay, Sequences sequences) {
        count = sequences.count();
        heads = Math.toIntExact(q.dim(1));
        rates = DevicePtr.of(decay);
        offsets = DevicePtr.of(sequences.offsets());
        slots = DevicePtr.of(sequences.slots());
        segment = WHOLE;
        segments = count;
        long pairs = (long) count * heads;
        long average = Math.ceilDiv(sequences.tokens(), count);
        long parts = BLOCKS / pairs;
        if (parts > 0) {
            long length = parts == 1 ? 2 * average : Math.ceilDiv(average, parts);
            length = Math.max(SHORTEST_SEGMENT, Math.ceilDiv(length, CHUNK) * CHUNK);
            for (int n = 0; n < count; n++) {
                if (sequences.length(n) > length) {
                    segment = (int) length;
                    segments = sequences.tokens() / length + count;
                    return;
                }
            }
        }
    }

    /** q, k, v, their strides, rates and offsets from parameter i on; returns the next. */
    private int common(Launch launch, int i, Tensor q, Tensor k, Tensor v) {
        launch.set(i, q).set(i + 1, k).set(i + 2, v).set(i + 3, q.stride(0))
                .set(i + 4, q.stride(1)).set(i + 5, rates).set(i + 6, offsets);
        return i + 7;
    }

    private int commonBackward(Launch launch, Tensor q, Tensor k, Tensor v, Tensor mask, Tensor edge, DevicePtr states,
            Tensor dout) {
        launch.set(0, qMap.heads(q, CHUNK)).set(1, kMap.heads(k, CHUNK)).set(2, vMap.heads(v, CHUNK))
                .set(3, doutMap.heads(dout, CHUNK));
        int i = common(launch, 4, q, k, v);
        launch.set(i++, slots).set(i++, mask).set(i++, edge).set(i++, states)
                .set(i++, dout).set(i++, dout.stride(0)).set(i++, dout.stride(1));
        return i;
    }

    private void run(Launch launch, int i, ActivationFunction f) {
        launch.set(i, count).set(i + 1, heads).set(i + 2, segment).set(i + 3, f.ordinal()).grid(segments * heads)
                .on(gpu.stream());
    }

    /** What each segment adds to the state, and with dout to its gradient. */
    private void totals(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor mask, Tensor dout, DevicePtr states,
            DevicePtr gradients) {
        Tensor other = dout == null ? q : dout;
        totals.set(0, qMap.heads(q, CHUNK)).set(1, kMap.heads(k, CHUNK)).set(2, vMap.heads(v, CHUNK))
                .set(3, doutMap.heads(other, CHUNK));
        int i = common(totals, 4, q, k, v);
        totals.set(i++, mask).set(i++, other).set(i++, other.stride(0)).set(i++, other.stride(1))
                .set(i++, states).set(i++, gradients).set(i++, count).set(i++, heads).set(i++, segment)
                .set(i++, f.ordinal()).grid(segments * heads, dout == null ? 1 : 2, 1).on(gpu.stream());
    }

    private void scan(DevicePtr states, Tensor edge, int mirrored) {
        scan.set(0, states).set(1, edge).set(2, rates).set(3, offsets).set(4, slots).set(5, count)
                .set(6, heads)
                .set(7, segment).set(8, mirrored).grid(SCAN_BLOCKS, heads, count).on(gpu.stream());
    }
}
