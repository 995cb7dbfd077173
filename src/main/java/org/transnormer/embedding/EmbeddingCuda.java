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
 * CUDA twin, cuda/embedding.cu; table, y and dy all F32 or all BF16, dtable F32. It does not look at what ids hold.
 *
 * <p>Differs from {@link EmbeddingScalar} in: scale, product and sums in F32. The backward adds each dy_t to the table in
 * the order of t, as the vector twin does, where a token occurs at most 128 times; of a more frequent one 128 at a time
 * are summed from 0, and these sums added in their order.
 */
public final class EmbeddingCuda implements Embedding {
    private static final String STEM = "embedding";
    private static final int THREADS = 256;
    private static final int WARPS = THREADS / 32;
    /** Tokens of a sum, as in the kernel. */
    private static final long RUN = 128;
    private static final int LANES = 32;

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
        ArgumentType[] gather = {POINTER, POINTER, LONG, POINTER, LONG, LONG, LONG, FLOAT};
        forward32 = gpu.launch(STEM, "embedding_forward_f32", gather).block(THREADS);
        forward16 = gpu.launch(STEM, "embedding_forward_bf16", gather).block(THREADS);
        add32 = gpu.launch(STEM, "embedding_add_f32", gather).block(THREADS);
        add16 = gpu.launch(STEM, "embedding_add_bf16", gather).block(THREADS);
        count = gpu.launch(STEM, "embedding_count", POINTER, INT, INT, POINTER).block(THREADS);
        place = gpu.launch(STEM, "embedding_place", INT, POINTER, POINTER, POINTER).block(THREADS);
        scatter = gpu.launch(STEM, "embedding_scatter", POINTER, INT, INT, POINTER, POINTER).block(THREADS);
        order = gpu.launch(STEM, "embedding_order", POINTER, POINTER, POINTER, POINTER, POINTER, POINTER)
                .block(THREADS);
        ArgumentType[] runs = {POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, LONG, FLOAT, POINTER, LONG,
            POINTER, LONG, LONG};
        runs32 = gpu.launch(STEM, "embedding_add_runs_f32", runs).block(THREADS);
        runs16 = gpu.launch(STEM, "embedding_add_runs_bf16", runs).block(THREADS);
        join = gpu.launch(STEM, "embedding_join", POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, LONG, POINTER,
                LONG, LONG).block(THREADS);
    }

    @Override
    public void forward(Tensor ids, Tensor table, double scale, Tensor y) {
        gather(forward32, forward16, ids, table, scale, y);
    }

    @Override
    public void add(Tensor ids, Tensor table, Tensor y) {
        gather(add32, add16, ids, table, 1, y);
    }

    private void gather(Launch f32, Launch bf16, Tensor ids, Tensor table, double scale, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        EmbeddingArguments.type("table", table, DType.F32, DType.BF16);
        EmbeddingArguments.type("y", y, table.dtype());
        long tokens = ids.dim(0);
        if (y.size() == 0) {
            return;
        }
        Launch launch = table.dtype() == DType.F32 ? f32 : bf16;
        launch.grid(Math.ceilDiv(tokens, WARPS)).set(0, DevicePtr.of(ids)).set(1, DevicePtr.of(table))
                .set(2, table.stride(0)).set(3, DevicePtr.of(y)).set(4, y.stride(0)).set(5, tokens).set(6, y.dim(1))
                .set(7, (float) scale).on(gpu.stream());
    }

    /** Where the parts of the scratch memory begin, in bytes. */
    private record Scratch(long starts, long ends, long placed, long list, long ordered, long partials, long stride,
            long bytes) {
        static Scratch of(long tokens, long rows, long width) {
            long vector = padded(4 * rows);
            long tokenVector = padded(4 * tokens);
            long stride = padded(4 * width);
            // the counter follows the counts: one fill clears both
            long placed = 2 * vector;
            long list = placed + padded(4);
            long partials = list + 2 * tokenVector;
            long sums = tokens > RUN ? 2 * Math.ceilDiv(tokens, RUN) : 0;
            return new Scratch(0, vector, placed, list, list + tokenVector, partials, stride / 4,
                    partials + sums * stride);
        }

        private static long padded(long bytes) {
            return Math.ceilDiv(bytes, 16) * 16;
        }
    }

    @Override
    public void backward(Tensor ids, Tensor dy, double scale, int padding, Tensor dtable) {
        EmbeddingArguments.backward(ids, dy, dtable);
        EmbeddingArguments.type("dy", dy, DType.F32, DType.BF16);
        EmbeddingArguments.type("dtable", dtable, DType.F32);
        if (dy.size() == 0) {
            return;
        }
        int tokens = Math.toIntExact(ids.dim(0));
        int rows = Math.toIntExact(dtable.dim(0));
        long width = dy.dim(1);
        Scratch at = Scratch.of(tokens, rows, width);
        DevicePtr scratch = DevicePtr.of(workspace.get(at.bytes)).slice(0, at.bytes);
        DevicePtr token = DevicePtr.of(ids);
        DevicePtr starts = scratch.slice(at.starts, 4L * rows);
        DevicePtr ends = scratch.slice(at.ends, 4L * rows);
        DevicePtr placed = scratch.slice(at.placed, 4);
        DevicePtr list = scratch.slice(at.list, 4L * tokens);
        DevicePtr ordered = scratch.slice(at.ordered, 4L * tokens);
        DevicePtr partials = scratch.slice(at.partials, at.bytes - at.partials);
        gpu.stream().fill(scratch.slice(at.ends, at.list - at.ends), (byte) 0);
        long perToken = Math.ceilDiv(tokens, THREADS);
        count.grid(perToken).set(0, token).set(1, tokens).set(2, padding).set(3, ends).on(gpu.stream());
        place.grid(Math.ceilDiv(rows, THREADS)).set(0, rows).set(1, starts).set(2, ends).set(3, placed)
                .on(gpu.stream());
        scatter.grid(perToken).set(0, token).set(1, tokens).set(2, padding).set(3, ends).set(4, list)
                .on(gpu.stream());
        order.grid(perToken).set(0, token).set(1, starts).set(2, ends).set(3, placed).set(4, list).set(5, ordered)
                .on(gpu.stream());
        boolean wide = dy.dtype() == DType.F32;
        (wide ? runs32 : runs16)
                .grid(Math.ceilDiv(tokens, WARPS), Math.ceilDiv(width, LANES * (wide ? 4 : 8)), 1)
                .set(0, token).set(1, ordered).set(2, starts).set(3, ends).set(4, placed).set(5, DevicePtr.of(dy))
                .set(6, dy.stride(0)).set(7, (float) scale).set(8, DevicePtr.of(dtable)).set(9, dtable.stride(0))
                .set(10, partials).set(11, at.stride).set(12, width).on(gpu.stream());
        if (tokens > RUN) {
            join.grid(Math.ceilDiv(tokens, RUN * WARPS), Math.ceilDiv(width, LANES * 4), 1).set(0, token)
                    .set(1, ordered).set(2, starts).set(3, ends).set(4, placed).set(5, DevicePtr.of(dtable))
                    .set(6, dtable.stride(0)).set(7, partials).set(8, at.stride).set(9, width).on(gpu.stream());
        }
    }
}
