package org.transnormer.embedding;

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
import org.transnormer.tensor.Workspace;

/**
 * CUDA twin, cuda/embedding.cu; table, y and dy all F32 or all BF16, dtable F32. It refuses no id: one outside the table
 * gives a row of zeros, as one in another rank's part does.
 *
 * <p>Differs from {@link EmbeddingScalar} in: scale, product and sums in F32. The backward adds each dy_t to the table in
 * the order of t, as the vector twin does, where a token occurs at most 64 times; of a more frequent one 64 at a time
 * are summed from 0, and these sums added in their order.
 */
public final class EmbeddingCuda implements Embedding {
    private static final String STEM = "embedding";
    private static final int THREADS = 256;
    private static final int WARPS = THREADS / 32;
    /** Tokens of a sum, and of a group that a warp orders itself, as in the kernel. */
    private static final long RUN = 64;
    private static final long SHORT = 32;
    /** Blocks of a multiprocessor that share what a list holds. */
    private static final long SHARE = 4;
    /** Of the lists. */
    private static final long COUNTERS = 4;

    private final Gpu gpu;
    private final Workspace workspace;
    private final Launch forward32;
    private final Launch forward16;
    private final Launch add32;
    private final Launch add16;
    private final Launch count;
    private final Launch place;
    private final Launch scatter;
    private final Launch order;
    private final Launch runs32;
    private final Launch runs16;
    private final Launch join;

    public EmbeddingCuda(Gpu gpu, Workspace workspace) {
        this.gpu = gpu;
        this.workspace = workspace;
        ArgumentType[] gather = {POINTER, LONG, LONG, POINTER, LONG, POINTER, LONG, LONG, LONG, FLOAT};
        forward32 = gpu.launch(STEM, "embedding_forward_f32", gather).block(THREADS);
        forward16 = gpu.launch(STEM, "embedding_forward_bf16", gather).block(THREADS);
        add32 = gpu.launch(STEM, "embedding_add_f32", gather).block(THREADS);
        add16 = gpu.launch(STEM, "embedding_add_bf16", gather).block(THREADS);
        count = gpu.launch(STEM, "embedding_count", POINTER, INT, LONG, INT, INT, POINTER, POINTER)
                .block(THREADS);
        place = gpu.launch(STEM, "embedding_place", INT, POINTER, POINTER, POINTER, POINTER, POINTER).block(THREADS);
        scatter = gpu.launch(STEM, "embedding_scatter", POINTER, INT, LONG, INT, INT, POINTER, POINTER, POINTER)
                .block(THREADS);
        order = gpu.launch(STEM, "embedding_order", INT, POINTER, POINTER, POINTER, POINTER).block(THREADS);
        ArgumentType[] runs = {POINTER, POINTER, POINTER, POINTER, POINTER, LONG, FLOAT, POINTER, LONG, POINTER, LONG,
            LONG};
        runs32 = gpu.launch(STEM, "embedding_add_runs_f32", runs).block(THREADS);
        runs16 = gpu.launch(STEM, "embedding_add_runs_bf16", runs).block(THREADS);
        join = gpu.launch(STEM, "embedding_join", POINTER, POINTER, POINTER, LONG, POINTER, LONG, LONG).block(THREADS);
    }

    @Override
    public void forward(Tensor ids, Tensor table, double scale, Tensor y) {
        forwardPart(ids, 0, table, scale, y);
    }

    @Override
    public void add(Tensor ids, Tensor table, Tensor y) {
        gather(add32, add16, ids, 0, table, 1, y);
    }

    private void gather(Launch f32, Launch bf16, Tensor ids, long first, Tensor table, double scale, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        EmbeddingArguments.type("table", table, DType.F32, DType.BF16);
        EmbeddingArguments.type("y", y, table.dtype());
        long tokens = ids.dim(0);
        if (y.size() == 0) {
            return;
        }
        Launch launch = table.dtype() == DType.F32 ? f32 : bf16;
        launch.grid(Math.ceilDiv(tokens, WARPS)).set(0, DevicePtr.of(ids)).set(1, first).set(2, table.dim(0))
                .set(3, DevicePtr.of(table)).set(4, table.stride(0)).set(5, DevicePtr.of(y)).set(6, y.stride(0))
                .set(7, tokens).set(8, y.dim(1)).set(9, (float) scale).on(gpu.stream());
    }

    /** Takes parts of scratch memory, one after the other. */
    private static final class Parts {
        private final DevicePtr memory;
        private long next;

        /** @param memory null to find out how much is needed */
        Parts(DevicePtr memory) {
            this.memory = memory;
        }

        DevicePtr take(long bytes) {
            long from = next;
            next += Math.ceilDiv(bytes, 16) * 16;
            return memory == null ? null : memory.slice(from, bytes);
        }
    }

    /** What the backward keeps in scratch memory. */
    private record Scratch(DevicePtr counts, DevicePtr counters, DevicePtr starts, DevicePtr numbers, DevicePtr list,
            DevicePtr ordered, DevicePtr runs, DevicePtr groups, DevicePtr partials, long partialStride) {
        static Scratch of(Parts parts, long tokens, long rows, long width) {
            long stride = Math.ceilDiv(width, 4) * 4;
            // a group of several runs has more than RUN tokens, so less than twice its share of runs
            long partials = tokens > RUN ? 2 * (tokens / RUN) : 0;
            return new Scratch(parts.take(4 * rows), parts.take(4 * COUNTERS), parts.take(4 * rows),
                    parts.take(4 * tokens), parts.take(4 * tokens), parts.take(4 * tokens), parts.take(16 * tokens),
                    parts.take(16 * (tokens / SHORT)), parts.take(4 * partials * stride), stride);
        }

        static long bytes(long tokens, long rows, long width) {
            Parts parts = new Parts(null);
            of(parts, tokens, rows, width);
            return parts.next;
        }
    }

    @Override
    public void backward(Tensor ids, Tensor dy, double scale, int padding, Tensor dtable) {
        backwardPart(ids, 0, dy, scale, padding, dtable);
    }

    @Override
    public void forwardPart(Tensor ids, long first, Tensor table, double scale, Tensor y) {
        gather(forward32, forward16, ids, first, table, scale, y);
    }

    @Override
    public void backwardPart(Tensor ids, long first, Tensor dy, double scale, int padding, Tensor dtable) {
        EmbeddingArguments.backward(ids, dy, dtable);
        EmbeddingArguments.type("dy", dy, DType.F32, DType.BF16);
        EmbeddingArguments.type("dtable", dtable, DType.F32);
        if (dy.size() == 0) {
            return;
        }
        int tokens = Math.toIntExact(ids.dim(0));
        int rows = Math.toIntExact(dtable.dim(0));
        long width = dy.dim(1);
        Scratch at = Scratch.of(new Parts(DevicePtr.of(workspace.get(Scratch.bytes(tokens, rows, width)))), tokens,
                rows, width);
        DevicePtr token = DevicePtr.of(ids);
        gpu.stream().fill(at.counts, (byte) 0);
        gpu.stream().fill(at.counters, (byte) 0);
        long perToken = Math.ceilDiv(tokens, THREADS);
        long share = SHARE * gpu.device().processors();
        count.grid(perToken).set(0, token).set(1, tokens).set(2, first).set(3, rows).set(4, padding).set(5, at.counts)
                .set(6, at.numbers).on(gpu.stream());
        place.grid(Math.ceilDiv(rows, THREADS)).set(0, rows).set(1, at.counts).set(2, at.starts).set(3, at.counters)
                .set(4, at.runs).set(5, at.groups).on(gpu.stream());
        scatter.grid(perToken).set(0, token).set(1, tokens).set(2, first).set(3, rows).set(4, padding)
                .set(5, at.starts).set(6, at.numbers).set(7, at.list).on(gpu.stream());
        if (tokens > SHORT) {
            order.grid(Math.min(share, tokens / SHORT)).set(0, tokens).set(1, at.groups).set(2, at.counters)
                    .set(3, at.list).set(4, at.ordered).on(gpu.stream());
        }
        boolean wide = dy.dtype() == DType.F32;
        long slices = Math.ceilDiv(width, 32 * (wide ? 4 : 8));
        (wide ? runs32 : runs16).grid(Math.min(share, Math.ceilDiv(tokens * slices, WARPS))).set(0, at.runs)
                .set(1, at.counters).set(2, at.list).set(3, at.ordered).set(4, DevicePtr.of(dy)).set(5, dy.stride(0))
                .set(6, (float) scale).set(7, DevicePtr.of(dtable)).set(8, dtable.stride(0)).set(9, at.partials)
                .set(10, at.partialStride).set(11, width).on(gpu.stream());
        if (tokens > RUN) {
            long items = tokens / RUN * Math.ceilDiv(width, 32 * 4);
            join.grid(Math.min(share, Math.ceilDiv(items, WARPS))).set(0, at.groups).set(1, at.counters)
                    .set(2, DevicePtr.of(dtable)).set(3, dtable.stride(0)).set(4, at.partials)
                    .set(5, at.partialStride).set(6, width).on(gpu.stream());
        }
    }

    @Override
    public void reserve(long tokens, long rows, long width) {
        announce(workspace, tokens, rows, width);
    }

    /** The same for a plan, of a GPU that need not be there. */
    public static void announce(Workspace workspace, long tokens, long rows, long width) {
        workspace.reserve(Scratch.bytes(tokens, rows, width));
    }
}
