package org.transnormer.linear;

import static org.transnormer.linear.Kernel.COLUMNS;
import static org.transnormer.linear.Kernel.ROWS;
import static org.transnormer.simd.Simd.FLOAT;
import static org.transnormer.simd.Simd.LANES;
import static org.transnormer.simd.Simd.ORDER;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Workers;
import org.transnormer.simd.Workspace;
import org.transnormer.tensor.Tensor;

/**
 * C = residual + (A · B + bias) in F32. Each element of A · B is one chain of fused multiply-adds from zero over k in
 * increasing order; bias and residual (C itself, to accumulate) are added to its end. So neither how the matrices are cut
 * nor who computes what nor how many rows a call has leaves a trace in the bits. (A chain that started from a large
 * residual would round at its size in every step.)
 *
 * <p>The matrices are cut into blocks of at most {@link #BLOCK} rows and columns and {@link #DEPTH} k. A block of A and
 * one of B are packed into panels, which then meet in {@link Kernel}; sums wait in scratch memory from one block of k to
 * the next. All cuts depend on the shapes only.
 */
final class Gemm {
    /** Most k of one pass: a panel of A (24 KiB) stays in the first-level cache, one of B (64 KiB) in the second. */
    private static final long DEPTH = 512;
    /** Most rows, and most columns, of a block: bounds the scratch memory. */
    private static final long BLOCK = 1536;
    /** Panels of A of one task. */
    private static final long TASK_ROWS = 6;
    /** Panels of B of one task. */
    private static final long TASK_COLUMNS = 4;
    /** Panels that one task packs. */
    private static final long TASK_PACKS = 4;

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
    private long panelsA;
    private long panelsB;
    private long sums;

    private long firstRow;
    private long rows;
    private long rowPanels;
    private long firstColumn;
    private long columns;
    private long columnPanels;
    private long firstK;
    private long depth;
    private boolean last;

    Gemm(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
    }

    /** Scratch bytes of a product of these dimensions: at most 16 MiB and 18 KiB a thread. */
    static long scratchBytes(long m, long n, long k, int threads) {
        long panels = (blockRows(m) + blockColumns(n)) * Math.min(k, DEPTH) * 4;
        long sums = k > DEPTH ? blockRows(m) * blockColumns(n) * 4 : 0;
        return TILE_ROW + threads * (TILE + STAGE) + align(panels) + sums;
    }

    private static long blockRows(long m) {
        return Math.ceilDiv(Math.min(m, BLOCK), ROWS) * ROWS;
    }

    private static long blockColumns(long n) {
        return Math.ceilDiv(Math.min(n, BLOCK), COLUMNS) * COLUMNS;
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
        layOut(m, n, k);
        for (firstColumn = 0; firstColumn < n; firstColumn += columns) {
            columns = Math.min(BLOCK, n - firstColumn);
            columnPanels = Math.ceilDiv(columns, COLUMNS);
            for (firstRow = 0; firstRow < m; firstRow += rows) {
                rows = Math.min(BLOCK, m - firstRow);
                rowPanels = Math.ceilDiv(rows, ROWS);
                firstK = 0;
                do {
                    depth = Math.min(DEPTH, k - firstK);
                    last = firstK + depth == k;
                    workers.run(Math.ceilDiv(rowPanels, TASK_PACKS) + Math.ceilDiv(columnPanels, TASK_PACKS), packing);
                    workers.run(Math.ceilDiv(rowPanels, TASK_ROWS) * Math.ceilDiv(columnPanels, TASK_COLUMNS),
                            multiplying);
                    firstK += depth;
                } while (!last);
            }
        }
    }

    private void layOut(long m, long n, long k) {
        Tensor memory = workspace.get(scratchBytes(m, n, k, workers.threads()));
        scratch = memory.segment();
        zeros = memory.byteOffset();
        tiles = zeros + TILE_ROW;
        stages = tiles + workers.threads() * TILE;
        panelsB = stages + workers.threads() * STAGE;
        panelsA = panelsB + blockColumns(n) * Math.min(k, DEPTH) * 4;
        sums = align(panelsA + blockRows(m) * Math.min(k, DEPTH) * 4);
        scratch.asSlice(zeros, TILE_ROW).fill((byte) 0);
    }

    private void pack(long task, int worker) {
        long stage = stages + worker * STAGE;
        long tasksA = Math.ceilDiv(rowPanels, TASK_PACKS);
        if (task < tasksA) {
            for (long i = task * TASK_PACKS; i < Math.min(rowPanels, (task + 1) * TASK_PACKS); i++) {
                a.pack(firstRow + i * ROWS, Math.min(ROWS, rows - i * ROWS), firstK, depth, scratch, panelA(i), ROWS,
                        stage);
            }
        } else {
            long from = (task - tasksA) * TASK_PACKS;
            for (long j = from; j < Math.min(columnPanels, from + TASK_PACKS); j++) {
                b.pack(firstColumn + j * COLUMNS, Math.min(COLUMNS, columns - j * COLUMNS), firstK, depth, scratch,
                        panelB(j), COLUMNS, stage);
            }
        }
    }

    private void multiply(long task, int worker) {
        long rowTasks = Math.ceilDiv(rowPanels, TASK_ROWS);
        long fromRow = task % rowTasks * TASK_ROWS;
        long fromColumn = task / rowTasks * TASK_COLUMNS;
        long toRow = Math.min(rowPanels, fromRow + TASK_ROWS);
        long toColumn = Math.min(columnPanels, fromColumn + TASK_COLUMNS);
        for (long j = fromColumn; j < toColumn; j++) {
            for (long i = fromRow; i < toRow; i++) {
                tile(i, j, tiles + worker * TILE);
            }
        }
    }

    private void tile(long i, long j, long tile) {
        long rowsHere = Math.min(ROWS, rows - i * ROWS);
        long columnsHere = Math.min(COLUMNS, columns - j * COLUMNS);
        long sum = sums + (i * columnPanels + j) * TILE;
        long from = firstK == 0 ? zeros : sum;
        long fromRow = firstK == 0 ? 0 : TILE_ROW;
        long row = firstRow + i * ROWS;
        long column = firstColumn + j * COLUMNS;
        if (!last) {
            Kernel.panel(scratch, panelA(i), panelB(j), depth, rowsHere, scratch, from, fromRow, scratch, sum,
                    TILE_ROW);
        } else if (residual == null && bias == null && columnsHere == COLUMNS && rowsHere % 4 == 0) {
            Kernel.panel(scratch, panelA(i), panelB(j), depth, rowsHere, scratch, from, fromRow, c,
                    cAt + row * cRow + column * 4, cRow);
        } else {
            Kernel.panel(scratch, panelA(i), panelB(j), depth, rowsHere, scratch, from, fromRow, scratch, tile,
                    TILE_ROW);
            for (long r = 0; r < rowsHere; r++) {
                long sumsAt = tile + r * TILE_ROW;
                if (bias != null) {
                    add(bias, biasAt + column * 4, scratch, sumsAt, scratch, sumsAt, columnsHere);
                }
                long cHere = cAt + (row + r) * cRow + column * 4;
                if (residual == null) {
                    MemorySegment.copy(scratch, sumsAt, c, cHere, columnsHere * 4);
                } else {
                    add(residual, residualAt + (row + r) * residualRow + column * 4, scratch, sumsAt, c, cHere,
                            columnsHere);
                }
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

    private long panelA(long i) {
        return panelsA + i * ROWS * depth * 4;
    }

    private long panelB(long j) {
        return panelsB + j * COLUMNS * depth * 4;
    }

    private static long align(long bytes) {
        return Math.ceilDiv(bytes, 64) * 64;
    }
}
