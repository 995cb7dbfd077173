package org.transnormer.srmsnorm;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * Adds a sum over tokens to the gradient of a parameter, in F32: columns in parallel, so that threads never meet, and
 * 64 tokens at a time, so that the error grows with T / 64 and not with T. SPEC section 3.1.
 */
final class ColumnSums {
    /** Columns of a task: 1 KiB of a row, enough for the hardware to fetch ahead. */
    private static final long COLUMNS = 256;
    private static final long TOKENS = 64;
    /** Bytes of a vector. */
    private static final long STEP = 4L * Simd.LANES;

    /** Adds what one token has to give. */
    @FunctionalInterface
    interface Term {
        /** sum_j += term of token t and column first + j, for {@code columns} columns; sum begins at byte {@code at}. */
        void add(long t, long first, long columns, MemorySegment sum, long at);
    }

    private ColumnSums() {
    }

    /** Announces the scratch memory of {@code add}. */
    static void reserve(Workers workers, Workspace workspace) {
        workspace.reserve(4 * COLUMNS * workers.threads());
    }

    /** gradient += Σ_t term. */
    static void add(Workers workers, Workspace workspace, long tokens, Tensor gradient, Term term) {
        Tensor scratch = workspace.get(4 * COLUMNS * workers.threads());
        MemorySegment sums = scratch.segment();
        workers.run(Math.ceilDiv(gradient.dim(0), COLUMNS), (task, worker) -> {
            long at = scratch.byteOffset() + 4 * COLUMNS * worker;
            long first = COLUMNS * task;
            long columns = Math.min(COLUMNS, gradient.dim(0) - first);
            for (long begin = 0; begin < tokens; begin += TOKENS) {
                long end = Math.min(tokens, begin + TOKENS);
                clear(sums, at, columns);
                for (long t = begin; t < end; t++) {
                    term.add(t, first, columns, sums, at);
                }
                add(sums, at, gradient.segment(), gradient.byteOffset() + 4 * first, columns);
            }
        });
    }

    private static void clear(MemorySegment sums, long at, long columns) {
        for (long i = 0; i < columns; i++) {
            sums.set(Simd.ELEMENT, at + 4 * i, 0);
        }
    }

    /** y += x. */
    private static void add(MemorySegment x, long xAt, MemorySegment y, long yAt, long count) {
        long bytes = 4 * count;
        long i = 0;
        for (; i + STEP <= bytes; i += STEP) {
            FloatVector.fromMemorySegment(Simd.FLOAT, y, yAt + i, Simd.ORDER)
                    .add(FloatVector.fromMemorySegment(Simd.FLOAT, x, xAt + i, Simd.ORDER))
                    .intoMemorySegment(y, yAt + i, Simd.ORDER);
        }
        for (; i < bytes; i += 4) {
            y.set(Simd.ELEMENT, yAt + i, y.get(Simd.ELEMENT, yAt + i) + x.get(Simd.ELEMENT, xAt + i));
        }
    }
}
