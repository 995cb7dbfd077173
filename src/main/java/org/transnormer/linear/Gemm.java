package org.transnormer.linear;

import static org.transnormer.linear.Kernel.COLUMNS;
import static org.transnormer.linear.Kernel.ROWS;
import static org.transnormer.simd.Simd.FLOAT;
import static org.transnormer.simd.Simd.LANES;
import static org.transnormer.simd.Simd.ORDER;
import static org.transnormer.simd.Simd.SUM_LANES;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * C = residual + (bias + A · B) in F32. Each element of A · B is one chain of fused multiply-adds from zero over k in
 * increasing order, bias and residual (C itself, to accumulate) are added to its end. So neither how the matrices are cut
 * nor who computes what leaves a trace in the bits. (A chain that started from a large residual would round at the
 * residual's size in every step.)
 *
 * <p>The matrices are cut into blocks of at most {@link #DEPTH} k. The smaller factor is packed into panels once, by all
 * threads; then each task packs a few panels of the larger one into memory of its own, where they stay in the
 * second-level cache, and runs them past all panels of the smaller one ({@link Kernel}). Sums wait in scratch memory from
 * one block of k to the next. All cuts depend on the shapes only.
 *
 * <p>A few rows times a B whose k are neighbours, as in decoding, are bound by how fast B arrives: there each element is
 * a {@link DotProduct}, with other bits. Shapes alone decide.
 */
final class Gemm {
    /** Most k of one pass: a panel of A has 24 KiB, one of B 64 KiB. */
    private static final long DEPTH = 512;
    /** Most rows and columns of a block, where scratch memory depends on them. */
    private static final long BLOCK = 1536;
    /** As many tasks as keep a few threads busy to the end, where the shapes allow it. */
    private static final long TASKS = 32;
    /** Most panels of A, and of B, that a task packs for itself. */
    private static final long OWN_ROW_PANELS = 4;
    private static final long OWN_COLUMN_PANELS = 2;
    /** Panels of the smaller factor that one task packs. */
    private static final long SHARED_PANELS = 4;

    /** Most rows of A that are multiplied by streaming through B once, without packing. */
    private static final long STREAM_ROWS = 4;
    /** Elements of B that one task streams through. */
    private static final long STREAM_TASK = 32 << 10;

    private static final ValueLayout.OfFloat ELEMENT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);
    private static final long TILE_ROW = COLUMNS * 4L;
    private static final long TILE = ROWS * TILE_ROW;
    private static final long STAGE = Packing.RUN * COLUMNS * 4;

    /** The factors of the next product. */
    final Operand a = new Operand();
    final Operand b = new Operand();

    private final Workers workers;
    private final Workspace workspace;
    private final Workers.Task packing = this::pack;
    private final Workers.Task multiplying = this::multiply;
    private final Workers.Task streaming = this::stream;

    private MemorySegment c;
    private long cAt;
    private long cRow;
    private MemorySegment residual;
    private long residualAt;
    private long residualRow;
    private MemorySegment bias;
    private long biasAt;

    private MemorySegment scratch;
    private long zeros;
    private long tiles;
    private long stages;
    private long own;
    private long ownBytes;
    private long shared;
    private long sums;

    private boolean shareB;
    private long firstRow;
    private long rows;
    private long firstColumn;
    private long columns;
    private long columnPanels;
    private long taskPanels;
    private long taskColumns;
    private long firstK;
    private long depth;
    private boolean last;

    Gemm(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
    }

    /** Scratch bytes of a product of these dimensions: at most 14 MiB, and 274 KiB a thread. */
    static long scratchBytes(long m, long n, long k, int threads) {
        return sumsAt(m, n, k, threads) + (k > DEPTH ? padded(blockRows(m, n, k), ROWS)
                * padded(blockColumns(m, n, k), COLUMNS) * 4 : 0);
    }

    /**
     * target = addend + (A · B + offset), A being (m, k), B (k, n).
     *
     * @param addend (m, n) or null; may be target
     * @param offset (n) or null
     */
    void multiply(long m, long n, long k, Tensor target, Tensor addend, Tensor offset) {
        if (m == 0 || n == 0) {
            return;
        }
        c = target.segment();
        cAt = target.byteOffset();
        cRow = target.stride(0) * 4;
        residual = addend == null ? null : addend.segment();
        residualAt = addend == null ? 0 : addend.byteOffset();
        residualRow = addend == null ? 0 : addend.stride(0) * 4;
        bias = offset == null ? null : offset.segment();
        biasAt = offset == null ? 0 : offset.byteOffset();
        if (streams(m, k)) {
            rows = m;
            columns = n;
            depth = k;
            taskColumns = Math.max(1, STREAM_TASK / k);
            workers.run(Math.ceilDiv(n, taskColumns), streaming);
            return;
        }
        layOut(m, n, k);
        long blockRows = blockRows(m, n, k);
        long blockColumns = blockColumns(m, n, k);
        for (firstColumn = 0; firstColumn < n; firstColumn += columns) {
            columns = Math.min(blockColumns, n - firstColumn);
            columnPanels = Math.ceilDiv(columns, COLUMNS);
            for (firstRow = 0; firstRow < m; firstRow += rows) {
                rows = Math.min(blockRows, m - firstRow);
                multiplyBlock(k);
            }
        }
    }

    /** Whether a product is bound by how fast B arrives, and laid out for dot products. */
    private boolean streams(long m, long k) {
        return m <= STREAM_ROWS && k > 0 && k % SUM_LANES == 0 && b.neighboursInK();
    }

    private void stream(long task, int worker) {
        long from = task * taskColumns;
        long to = Math.min(columns, from + taskColumns);
        for (long j = from; j < to; j++) {
            for (long i = 0; i < rows; i++) {
                float sum = b.dot(j, a, i, depth);
                if (bias != null) {
                    sum = bias.get(ELEMENT, biasAt + j * 4) + sum;
                }
                if (residual != null) {
                    sum = residual.get(ELEMENT, residualAt + i * residualRow + j * 4) + sum;
                }
                c.set(ELEMENT, cAt + i * cRow + j * 4, sum);
            }
        }
    }

    private void multiplyBlock(long k) {
        long rowPanels = Math.ceilDiv(rows, ROWS);
        long sharedPanels = shareB ? columnPanels : rowPanels;
        long ownPanels = shareB ? rowPanels : columnPanels;
        taskPanels = Math.clamp(ownPanels / TASKS, 1, shareB ? OWN_ROW_PANELS : OWN_COLUMN_PANELS);
        firstK = 0;
        do {
            depth = Math.min(DEPTH, k - firstK);
            last = firstK + depth == k;
            workers.run(Math.ceilDiv(sharedPanels, SHARED_PANELS), packing);
            workers.run(Math.ceilDiv(ownPanels, taskPanels), multiplying);
            firstK += depth;
        } while (!last);
    }

    private void layOut(long m, long n, long k) {
        int threads = workers.threads();
        Tensor memory = workspace.get(scratchBytes(m, n, k, threads));
        scratch = memory.segment();
        zeros = memory.byteOffset();
        tiles = zeros + TILE_ROW;
        stages = tiles + threads * TILE;
        own = stages + threads * STAGE;
        ownBytes = ownBytes(k);
        shared = own + threads * ownBytes;
        sums = zeros + sumsAt(m, n, k, threads);
        shareB = m >= n;
        scratch.asSlice(zeros, TILE_ROW).fill((byte) 0);
    }

    private static long sumsAt(long m, long n, long k, int threads) {
        long sharedRows = Math.max(padded(Math.min(Math.min(m, n), BLOCK), COLUMNS),
                padded(Math.min(Math.min(m, n), BLOCK), ROWS));
        return TILE_ROW + threads * (TILE + STAGE + ownBytes(k)) + padded(sharedRows * Math.min(k, DEPTH) * 4, 64);
    }

    private static long ownBytes(long k) {
        return Math.max(OWN_ROW_PANELS * ROWS, OWN_COLUMN_PANELS * COLUMNS) * Math.min(k, DEPTH) * 4;
    }

    /** Rows of a block: all, unless A is shared or sums have to wait. Blocks are about equally large. */
    private static long blockRows(long m, long n, long k) {
        return m >= n && k <= DEPTH ? m : padded(Math.ceilDiv(m, Math.ceilDiv(m, BLOCK)), ROWS);
    }

    private static long blockColumns(long m, long n, long k) {
        return m < n && k <= DEPTH ? n : padded(Math.ceilDiv(n, Math.ceilDiv(n, BLOCK)), COLUMNS);
    }

    private void pack(long task, int worker) {
        long stage = stages + worker * STAGE;
        long i = task * SHARED_PANELS;
        if (shareB) {
            long count = Math.min(SHARED_PANELS * COLUMNS, columns - i * COLUMNS);
            b.pack(firstColumn + i * COLUMNS, count, firstK, depth, scratch, panelB(shared, i), COLUMNS, stage);
        } else {
            long count = Math.min(SHARED_PANELS * ROWS, rows - i * ROWS);
            a.pack(firstRow + i * ROWS, count, firstK, depth, scratch, panelA(shared, i), ROWS, stage);
        }
    }

    private void multiply(long task, int worker) {
        long stage = stages + worker * STAGE;
        long mine = own + worker * ownBytes;
        long tile = tiles + worker * TILE;
        long first = task * taskPanels;
        if (shareB) {
            long count = Math.min(taskPanels * ROWS, rows - first * ROWS);
            a.pack(firstRow + first * ROWS, count, firstK, depth, scratch, mine, ROWS, stage);
            for (long j = 0; j * COLUMNS < columns; j++) {
                for (long i = 0; i * ROWS < count; i++) {
                    tile(panelA(mine, i), panelB(shared, j), first + i, j, tile);
                }
            }
        } else {
            long count = Math.min(taskPanels * COLUMNS, columns - first * COLUMNS);
            b.pack(firstColumn + first * COLUMNS, count, firstK, depth, scratch, mine, COLUMNS, stage);
            for (long i = 0; i * ROWS < rows; i++) {
                for (long j = 0; j * COLUMNS < count; j++) {
                    tile(panelA(shared, i), panelB(mine, j), i, first + j, tile);
                }
            }
        }
    }

    /** Row panel i of the block times column panel j. */
    private void tile(long panelA, long panelB, long i, long j, long tile) {
        long rowsHere = Math.min(ROWS, rows - i * ROWS);
        long columnsHere = Math.min(COLUMNS, columns - j * COLUMNS);
        long sum = sums + (i * columnPanels + j) * TILE;
        long from = firstK == 0 ? zeros : sum;
        long fromRow = firstK == 0 ? 0 : TILE_ROW;
        long row = firstRow + i * ROWS;
        long column = firstColumn + j * COLUMNS;
        if (!last) {
            Kernel.panel(scratch, panelA, panelB, depth, rowsHere, scratch, from, fromRow, scratch, sum, TILE_ROW);
        } else if (residual == null && bias == null && columnsHere == COLUMNS && rowsHere % 4 == 0) {
            Kernel.panel(scratch, panelA, panelB, depth, rowsHere, scratch, from, fromRow, c,
                    cAt + row * cRow + column * 4, cRow);
        } else {
            Kernel.panel(scratch, panelA, panelB, depth, rowsHere, scratch, from, fromRow, scratch, tile, TILE_ROW);
            finish(tile, row, rowsHere, column, columnsHere);
        }
    }

    /** Adds bias and residual to a tile and writes what C has of it. */
    private void finish(long tile, long row, long rowsHere, long column, long columnsHere) {
        for (long r = 0; r < rowsHere; r++) {
            long from = tile + r * TILE_ROW;
            if (bias != null) {
                add(bias, biasAt + column * 4, scratch, from, scratch, from, columnsHere);
            }
            long to = cAt + (row + r) * cRow + column * 4;
            if (residual == null) {
                MemorySegment.copy(scratch, from, c, to, columnsHere * 4);
            } else {
                add(residual, residualAt + (row + r) * residualRow + column * 4, scratch, from, c, to, columnsHere);
            }
        }
    }

    private static void add(MemorySegment x, long xAt, MemorySegment y, long yAt, MemorySegment z, long zAt,
            long count) {
        long whole = count / LANES * LANES;
        for (long i = 0; i < whole; i += LANES) {
            FloatVector.fromMemorySegment(FLOAT, x, xAt + i * 4, ORDER)
                    .add(FloatVector.fromMemorySegment(FLOAT, y, yAt + i * 4, ORDER))
                    .intoMemorySegment(z, zAt + i * 4, ORDER);
        }
        for (long i = whole; i < count; i++) {
            z.set(ELEMENT, zAt + i * 4, x.get(ELEMENT, xAt + i * 4) + y.get(ELEMENT, yAt + i * 4));
        }
    }

    private long panelA(long panels, long i) {
        return panels + i * ROWS * depth * 4;
    }

    private long panelB(long panels, long j) {
        return panels + j * COLUMNS * depth * 4;
    }

    private static long padded(long count, long unit) {
        return Math.ceilDiv(count, unit) * unit;
    }
}
