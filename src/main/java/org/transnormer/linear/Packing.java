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
    /** As many k of BF16 at a time as keep the stage, where they are widened, in the first-level cache. */
    static final long RUN = 128;

    /** As many k at a time as keep rows of several panels in the first-level cache: each line is fetched once. */
    private static final long CHUNK = 32;
    private static final ValueLayout.OfFloat FLOAT_AT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);
    private static final ValueLayout.OfShort SHORT_AT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ORDER);
    private static final VectorSpecies<Integer> INTS = FLOAT.withLanes(int.class);
    private static final VectorSpecies<Short> HALVES =
            VectorSpecies.of(short.class, VectorShape.forBitSize(LANES * 16));
    private static final VectorSpecies<Integer> FOUR = IntVector.SPECIES_128;
    private static final VectorSpecies<Integer> EIGHT = IntVector.SPECIES_256;
    private static final boolean HAS_EIGHT = LANES >= 8;
    /** The lower halves of two vectors, interleaved, and the upper halves: log2 n rounds of both turn n vectors. */
    private static final IntVector LOW = IntVector.fromArray(FOUR, new int[] {0, 4, 1, 5}, 0);
    private static final IntVector HIGH = IntVector.fromArray(FOUR, new int[] {2, 6, 3, 7}, 0);
    private static final IntVector LOW8 = IntVector.fromArray(EIGHT, new int[] {0, 8, 1, 9, 2, 10, 3, 11}, 0);
    private static final IntVector HIGH8 = IntVector.fromArray(EIGHT, new int[] {4, 12, 5, 13, 6, 14, 7, 15}, 0);

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
            transposePanel(source, at + r * row, row, Math.min(width, rows - r), depth, panels, to + r * depth * 4,
                    width);
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
                transposePanel(panels, stage, RUN * 4, rowsHere, run, panels, to + (r * depth + k * width) * 4, width);
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

    private static void transposePanel(MemorySegment source, long at, long row, long rows, long depth,
            MemorySegment panel, long to, long width) {
        long step = width * 4;
        long r = 0;
        for (; HAS_EIGHT && r + 8 <= rows; r += 8) {
            turnEight(source, at + r * row, row, depth & -8, panel, to + r * 4, step);
            scatter(source, at + r * row, row, 8, depth & -8, depth, panel, to + r * 4, step);
        }
        for (; r + 4 <= rows; r += 4) {
            turnFour(source, at + r * row, row, depth & -4, panel, to + r * 4, step);
            scatter(source, at + r * row, row, 4, depth & -4, depth, panel, to + r * 4, step);
        }
        scatter(source, at + r * row, row, rows - r, 0, depth, panel, to + r * 4, step);
        zero(rows, depth, panel, to, width);
    }

    /** Turns 8 rows. */
    private static void turnEight(MemorySegment source, long at, long row, long depth, MemorySegment panel, long to,
            long step) {
        for (long k = 0; k < depth; k += 8) {
            long q = at + k * 4;
            long p = to + k * step;
            IntVector v0 = IntVector.fromMemorySegment(EIGHT, source, q, ORDER);
            IntVector v1 = IntVector.fromMemorySegment(EIGHT, source, q + row, ORDER);
            IntVector v2 = IntVector.fromMemorySegment(EIGHT, source, q + 2 * row, ORDER);
            IntVector v3 = IntVector.fromMemorySegment(EIGHT, source, q + 3 * row, ORDER);
            IntVector v4 = IntVector.fromMemorySegment(EIGHT, source, q + 4 * row, ORDER);
            IntVector v5 = IntVector.fromMemorySegment(EIGHT, source, q + 5 * row, ORDER);
            IntVector v6 = IntVector.fromMemorySegment(EIGHT, source, q + 6 * row, ORDER);
            IntVector v7 = IntVector.fromMemorySegment(EIGHT, source, q + 7 * row, ORDER);
            IntVector a0 = LOW8.selectFrom(v0, v4);
            IntVector a1 = HIGH8.selectFrom(v0, v4);
            IntVector a2 = LOW8.selectFrom(v1, v5);
            IntVector a3 = HIGH8.selectFrom(v1, v5);
            IntVector a4 = LOW8.selectFrom(v2, v6);
            IntVector a5 = HIGH8.selectFrom(v2, v6);
            IntVector a6 = LOW8.selectFrom(v3, v7);
            IntVector a7 = HIGH8.selectFrom(v3, v7);
            IntVector b0 = LOW8.selectFrom(a0, a4);
            IntVector b1 = HIGH8.selectFrom(a0, a4);
            IntVector b2 = LOW8.selectFrom(a1, a5);
            IntVector b3 = HIGH8.selectFrom(a1, a5);
            IntVector b4 = LOW8.selectFrom(a2, a6);
            IntVector b5 = HIGH8.selectFrom(a2, a6);
            IntVector b6 = LOW8.selectFrom(a3, a7);
            IntVector b7 = HIGH8.selectFrom(a3, a7);
            LOW8.selectFrom(b0, b4).intoMemorySegment(panel, p, ORDER);
            HIGH8.selectFrom(b0, b4).intoMemorySegment(panel, p + step, ORDER);
            LOW8.selectFrom(b1, b5).intoMemorySegment(panel, p + 2 * step, ORDER);
            HIGH8.selectFrom(b1, b5).intoMemorySegment(panel, p + 3 * step, ORDER);
            LOW8.selectFrom(b2, b6).intoMemorySegment(panel, p + 4 * step, ORDER);
            HIGH8.selectFrom(b2, b6).intoMemorySegment(panel, p + 5 * step, ORDER);
            LOW8.selectFrom(b3, b7).intoMemorySegment(panel, p + 6 * step, ORDER);
            HIGH8.selectFrom(b3, b7).intoMemorySegment(panel, p + 7 * step, ORDER);
        }
    }

    /** Turns 4 rows. */
    private static void turnFour(MemorySegment source, long at, long row, long depth, MemorySegment panel, long to,
            long step) {
        for (long k = 0; k < depth; k += 4) {
            long q = at + k * 4;
            long p = to + k * step;
            IntVector v0 = IntVector.fromMemorySegment(FOUR, source, q, ORDER);
            IntVector v1 = IntVector.fromMemorySegment(FOUR, source, q + row, ORDER);
            IntVector v2 = IntVector.fromMemorySegment(FOUR, source, q + 2 * row, ORDER);
            IntVector v3 = IntVector.fromMemorySegment(FOUR, source, q + 3 * row, ORDER);
            IntVector a0 = LOW.selectFrom(v0, v2);
            IntVector a1 = HIGH.selectFrom(v0, v2);
            IntVector a2 = LOW.selectFrom(v1, v3);
            IntVector a3 = HIGH.selectFrom(v1, v3);
            LOW.selectFrom(a0, a2).intoMemorySegment(panel, p, ORDER);
            HIGH.selectFrom(a0, a2).intoMemorySegment(panel, p + step, ORDER);
            LOW.selectFrom(a1, a3).intoMemorySegment(panel, p + 2 * step, ORDER);
            HIGH.selectFrom(a1, a3).intoMemorySegment(panel, p + 3 * step, ORDER);
        }
    }

    /** One element at a time, k from {@code first} on. */
    private static void scatter(MemorySegment source, long at, long row, long rows, long first, long depth,
            MemorySegment panel, long to, long step) {
        for (long r = 0; r < rows; r++) {
            for (long k = first; k < depth; k++) {
                panel.set(FLOAT_AT, to + k * step + r * 4, source.get(FLOAT_AT, at + r * row + k * 4));
            }
        }
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
