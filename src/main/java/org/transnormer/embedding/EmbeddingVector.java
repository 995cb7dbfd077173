package org.transnormer.embedding;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Bf16Vectors;
import org.transnormer.simd.Rows;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Vector twin; table F32 or BF16, everything else F32.
 *
 * <p>Differs from {@link EmbeddingScalar} in: the scale is rounded to F32; the backward adds each dy_t to the table in
 * F32 by a fused multiply-add, in the order of t. Both are within SPEC section 3.7's tolerance. Forward
 * and addition run in parallel over tokens, the backward over columns, so that tokens that share a row never meet.
 */
public final class EmbeddingVector implements Embedding {
    /** Columns per task of the backward: 1 KiB of a row, enough for the hardware to fetch ahead. */
    private static final long COLUMNS = 256;
    private static final int LANES = Simd.LANES;

    private final Workers workers;

    public EmbeddingVector(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor ids, Tensor table, double scale, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        Embedding.checkIds(ids, table.dim(0));
        forwardPart(ids, 0, table, scale, y);
    }

    @Override
    public void add(Tensor ids, Tensor table, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        Embedding.checkIds(ids, table.dim(0));
        eachRow(ids, 0, table, y, (x, xAt, out, at, d) -> add(x, xAt, 1, out, at, d), EmbeddingVector::addBf16);
    }

    @Override
    public void backward(Tensor ids, Tensor dy, double scale, int padding, Tensor dtable) {
        EmbeddingArguments.backward(ids, dy, dtable);
        Embedding.checkIds(ids, dtable.dim(0));
        backwardPart(ids, 0, dy, scale, padding, dtable);
    }

    @Override
    public void forwardPart(Tensor ids, long first, Tensor table, double scale, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        eachRow(ids, first, table, y, (x, xAt, out, at, d) -> scale(x, xAt, (float) scale, out, at, d),
                (x, xAt, out, at, d) -> scaleBf16(x, xAt, (float) scale, out, at, d));
    }

    @Override
    public void backwardPart(Tensor ids, long first, Tensor dy, double scale, int padding, Tensor dtable) {
        EmbeddingArguments.backward(ids, dy, dtable);
        EmbeddingArguments.type("dy", dy, DType.F32);
        EmbeddingArguments.type("dtable", dtable, DType.F32);
        long tokens = ids.dim(0);
        long rows = dtable.dim(0);
        long width = dtable.dim(1);
        workers.run(Math.ceilDiv(width, COLUMNS), (task, worker) -> {
            long column = task * COLUMNS;
            long columns = Math.min(COLUMNS, width - column);
            for (long t = 0; t < tokens; t++) {
                long i = ids.getInt(t) - first;
                if (ids.getInt(t) != padding && i >= 0 && i < rows) {
                    add(dy.segment(), dy.byteOffset() + 4 * (t * dy.stride(0) + column), (float) scale,
                            dtable.segment(), dtable.byteOffset() + 4 * (i * dtable.stride(0) + column), columns);
                }
            }
        });
    }

    /** From a row of the table to a row of y; offsets in bytes. */
    @FunctionalInterface
    private interface RowOperation {
        void run(MemorySegment table, long from, MemorySegment y, long to, long d);
    }

    /** Takes the table's row of each token, F32 or BF16, to the token's row of y, which is zero where there is none. */
    private void eachRow(Tensor ids, long first, Tensor table, Tensor y, RowOperation f32, RowOperation bf16) {
        EmbeddingArguments.type("table", table, DType.F32, DType.BF16);
        EmbeddingArguments.type("y", y, DType.F32);
        RowOperation operation = table.dtype() == DType.F32 ? f32 : bf16;
        long bytes = table.dtype().bytes();
        long tokens = ids.dim(0);
        long rows = Rows.perTask(y.dim(1));
        workers.run(Rows.tasks(tokens, y.dim(1)), (task, worker) -> {
            long end = Math.min(tokens, (task + 1) * rows);
            for (long t = task * rows; t < end; t++) {
                long i = ids.getInt(t) - first;
                long at = y.byteOffset() + 4 * t * y.stride(0);
                if (i >= 0 && i < table.dim(0)) {
                    operation.run(table.segment(), bytes * (table.offset() + i * table.stride(0)), y.segment(), at,
                            y.dim(1));
                } else {
                    zero(y.segment(), at, y.dim(1));
                }
            }
        });
    }

    private static void zero(MemorySegment y, long at, long count) {
        for (long j = 0; j < count; j++) {
            y.set(Simd.ELEMENT, at + 4 * j, 0);
        }
    }

    /** y = scale · x. */
    private static void scale(MemorySegment x, long xAt, float scale, MemorySegment y, long yAt, long count) {
        long j = 0;
        for (; j + LANES <= count; j += LANES) {
            FloatVector.fromMemorySegment(Simd.FLOAT, x, xAt + 4 * j, Simd.ORDER).mul(scale)
                    .intoMemorySegment(y, yAt + 4 * j, Simd.ORDER);
        }
        for (; j < count; j++) {
            y.set(Simd.ELEMENT, yAt + 4 * j, scale * x.get(Simd.ELEMENT, xAt + 4 * j));
        }
    }

    /** y = scale · x, x in BF16. */
    private static void scaleBf16(MemorySegment x, long xAt, float scale, MemorySegment y, long yAt, long count) {
        long j = 0;
        for (; j + LANES <= count; j += LANES) {
            Bf16Vectors.load(x, xAt + 2 * j).mul(scale).intoMemorySegment(y, yAt + 4 * j, Simd.ORDER);
        }
        for (; j < count; j++) {
            y.set(Simd.ELEMENT, yAt + 4 * j, scale * Bf16Vectors.get(x, xAt + 2 * j));
        }
    }

    /** y += scale · x. */
    private static void add(MemorySegment x, long xAt, float scale, MemorySegment y, long yAt, long count) {
        FloatVector factor = FloatVector.broadcast(Simd.FLOAT, scale);
        long j = 0;
        for (; j + LANES <= count; j += LANES) {
            FloatVector.fromMemorySegment(Simd.FLOAT, x, xAt + 4 * j, Simd.ORDER)
                    .fma(factor, FloatVector.fromMemorySegment(Simd.FLOAT, y, yAt + 4 * j, Simd.ORDER))
                    .intoMemorySegment(y, yAt + 4 * j, Simd.ORDER);
        }
        for (; j < count; j++) {
            y.set(Simd.ELEMENT, yAt + 4 * j, Math.fma(x.get(Simd.ELEMENT, xAt + 4 * j), scale,
                    y.get(Simd.ELEMENT, yAt + 4 * j)));
        }
    }

    /** y += x, x in BF16. */
    private static void addBf16(MemorySegment x, long xAt, MemorySegment y, long yAt, long count) {
        long j = 0;
        for (; j + LANES <= count; j += LANES) {
            Bf16Vectors.load(x, xAt + 2 * j).add(FloatVector.fromMemorySegment(Simd.FLOAT, y, yAt + 4 * j, Simd.ORDER))
                    .intoMemorySegment(y, yAt + 4 * j, Simd.ORDER);
        }
        for (; j < count; j++) {
            y.set(Simd.ELEMENT, yAt + 4 * j, Bf16Vectors.get(x, xAt + 2 * j) + y.get(Simd.ELEMENT, yAt + 4 * j));
        }
    }
}
