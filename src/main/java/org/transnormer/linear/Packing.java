package org.transnormer.linear;

import static org.transnormer.simd.Simd.FLOAT;
import static org.transnormer.simd.Simd.LANES;
import static org.transnormer.simd.Simd.ORDER;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.transnormer.tensor.Bf16;

/**
 * Copies part of a matrix into panels of P rows: element (r, k) goes to (P k + r) · 4 bytes from the start of its
 * panel, rows that the matrix does not have become zeros. {@link #transpose} reads a matrix whose k are neighbours,
 * {@link #copy} one whose r are.
 *
 * <p>Elements travel as integers: one species of float vector in the whole process keeps the type profiles of the
 * arithmetic clean.
 */
final class Packing {
    /** As many k at a time as keep the stage and what is written of a panel in the first-level cache. */
    static final long RUN = 128;

    /** As many k at a time as keep rows of several panels in the first-level cache: each line is fetched once. */
    private static final long CHUNK = 32;
    private static final ValueLayout.OfFloat FLOAT_AT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);
    private static final ValueLayout.OfShort SHORT_AT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ORDER);
    private static final VectorSpecies<Integer> INTS = FLOAT.withLanes(int.class);
    private static final VectorSpecies<Short> HALVES =
            VectorSpecies.of(short.class, VectorShape.forBitSize(LANES * 16));
    private static final VectorSpecies<Integer> FOUR = IntVector.SPECIES_128;
    /** The lower halves of two vectors, interleaved, and the upper halves. */
    private static final IntVector LOW = IntVector.fromArray(FOUR, new int[] {0, 4, 1, 5}, 0);
    private static final IntVector HIGH = IntVector.fromArray(FOUR, new int[] {2, 6, 3, 7}, 0);

    private Packing() {}

    /**
     * Packs F32 whose k are neighbours into panels that follow each other.
     *
     * @param source element (r, k) at {@code at + r * row + k * 4}
     * @param rows number of r
     * @param depth number of k
     * @param width P, a multiple of 4
     */
    static void transpose(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panels, long to,
            long width) {
        for (long r = 0; r < rows; r += width) {
            for (long k = 0; k < depth; k += RUN) {
                transposeRun(source, at + r * row + k * 4, row, Math.min(width, rows - r), Math.min(RUN, depth - k),
                        panels, to + (r * depth + k * width) * 4, width);
            }
        }
    }

    /** The same for BF16, element (r, k) at {@code at + r * row + k * 2}; {@code stage} holds RUN · P floats. */
    static void transposeBf16(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panels,
            long to, long width, long stage) {
        for (long r = 0; r < rows; r += width) {
            long rowsHere = Math.min(width, rows - r);
            for (long k = 0; k < depth; k += RUN) {
                long run = Math.min(RUN, depth - k);
                for (long i = 0; i < rowsHere; i++) {
                    widen(source, at + (r + i) * row + k * 2, run, panels, stage + i * RUN * 4);
                }
                transposeRun(panels, stage, RUN * 4, rowsHere, run, panels, to + (r * depth + k * width) * 4, width);
            }
        }
    }

    /** Packs F32 whose r are neighbours, element (r, k) at {@code at + k * row + r * 4}. */
    static void copy(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panels, long to,
            long width) {
        for (long k = 0; k < depth; k += CHUNK) {
            long chunk = Math.min(CHUNK, depth - k);
            for (long r = 0; r < rows; r += width) {
                copyChunk(source, at + k * row + r * 4, row, Math.min(width, rows - r), chunk, panels,
                        to + (r * depth + k * width) * 4, width);
            }
        }
    }

    /** The same for BF16, element (r, k) at {@code at + k * row + r * 2}. */
    static void copyBf16(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panels, long to,
            long width) {
        for (long k = 0; k < depth; k++) {
            for (long r = 0; r < rows; r += width) {
                widen(source, at + k * row + r * 2, Math.min(width, rows - r), panels,
                        to + (r * depth + k * width) * 4);
            }
        }
        long rest = rows % width;
        zero(rest, depth, panels, to + (rows - rest) * depth * 4, width);
    }

    private static void transposeRun(MemorySegment source, long at, long row, long rows, long depth,
            MemorySegment panel, long to, long width) {
        long step = width * 4;
        long whole = rows & -4;
        long wholeDepth = depth & -4;
        for (long r = 0; r < whole; r += 4) {
            long r0 = at + r * row;
            long r1 = r0 + row;
            long r2 = r1 + row;
            long r3 = r2 + row;
            for (long k = 0; k < wholeDepth; k += 4) {
                IntVector v0 = IntVector.fromMemorySegment(FOUR, source, r0 + k * 4, ORDER);
                IntVector v1 = IntVector.fromMemorySegment(FOUR, source, r1 + k * 4, ORDER);
                IntVector v2 = IntVector.fromMemorySegment(FOUR, source, r2 + k * 4, ORDER);
                IntVector v3 = IntVector.fromMemorySegment(FOUR, source, r3 + k * 4, ORDER);
                IntVector low02 = LOW.selectFrom(v0, v2);
                IntVector high02 = HIGH.selectFrom(v0, v2);
                IntVector low13 = LOW.selectFrom(v1, v3);
                IntVector high13 = HIGH.selectFrom(v1, v3);
                long p = to + k * step + r * 4;
                LOW.selectFrom(low02, low13).intoMemorySegment(panel, p, ORDER);
                HIGH.selectFrom(low02, low13).intoMemorySegment(panel, p + step, ORDER);
                LOW.selectFrom(high02, high13).intoMemorySegment(panel, p + 2 * step, ORDER);
                HIGH.selectFrom(high02, high13).intoMemorySegment(panel, p + 3 * step, ORDER);
            }
        }
        for (long r = 0; r < rows; r++) {
            for (long k = r < whole ? wholeDepth : 0; k < depth; k++) {
                panel.set(FLOAT_AT, to + k * step + r * 4, source.get(FLOAT_AT, at + r * row + k * 4));
            }
        }
        zero(rows, depth, panel, to, width);
    }

    private static void copyChunk(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panel,
            long to, long width) {
        if (rows == width && width == Kernel.COLUMNS) {
            for (long k = 0; k < depth; k++) {
                for (long r = 0; r < Kernel.COLUMNS; r += LANES) {
                    IntVector.fromMemorySegment(INTS, source, at + k * row + r * 4, ORDER)
                            .intoMemorySegment(panel, to + (k * Kernel.COLUMNS + r) * 4, ORDER);
                }
            }
        } else if (rows == width && width == Kernel.ROWS) {
            for (long k = 0; k < depth; k++) {
                long from = at + k * row;
                long p = to + k * (Kernel.ROWS * 4);
                IntVector v0 = IntVector.fromMemorySegment(FOUR, source, from, ORDER);
                IntVector v1 = IntVector.fromMemorySegment(FOUR, source, from + 16, ORDER);
                IntVector v2 = IntVector.fromMemorySegment(FOUR, source, from + 32, ORDER);
                v0.intoMemorySegment(panel, p, ORDER);
                v1.intoMemorySegment(panel, p + 16, ORDER);
                v2.intoMemorySegment(panel, p + 32, ORDER);
            }
        } else {
            for (long k = 0; k < depth; k++) {
                for (long r = 0; r < rows; r++) {
                    panel.set(FLOAT_AT, to + (k * width + r) * 4, source.get(FLOAT_AT, at + k * row + r * 4));
                }
            }
            zero(rows, depth, panel, to, width);
        }
    }

    /** Converts neighbours from BF16, the upper half of an F32, to F32. */
    private static void widen(MemorySegment source, long at, long count, MemorySegment target, long to) {
        long whole = count / LANES * LANES;
        for (long i = 0; i < whole; i += LANES) {
            IntVector halves = (IntVector) ShortVector.fromMemorySegment(HALVES, source, at + i * 2, ORDER)
                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0);
            halves.lanewise(VectorOperators.LSHL, 16).intoMemorySegment(target, to + i * 4, ORDER);
        }
        for (long i = whole; i < count; i++) {
            target.set(FLOAT_AT, to + i * 4, Bf16.toFloat(source.get(SHORT_AT, at + i * 2)));
        }
    }

    private static void zero(long rows, long depth, MemorySegment panel, long to, long width) {
        if (rows == 0 || rows == width) {
            return;
        }
        for (long k = 0; k < depth; k++) {
            for (long r = rows; r < width; r++) {
                panel.set(FLOAT_AT, to + (k * width + r) * 4, 0);
            }
        }
    }
}
