package org.transnormer.linear;

import static org.transnormer.simd.Simd.ORDER;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.transnormer.tensor.Bf16;

/**
 * Copies part of a matrix into a panel of fixed width P: element (r, k) goes to (P k + r) · 4 bytes from the panel's
 * start, rows that the matrix does not have become zeros. {@link #transpose} reads a matrix whose k are neighbours,
 * {@link #copy} one whose r are. Vectors have 128 bits, four by four elements are turned at a time, on any machine.
 */
final class Packing {
    /** As many k at a time as keep what is written of a panel, and the stage, in the first-level cache. */
    static final long RUN = 128;

    private static final ValueLayout.OfFloat FLOAT_AT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);
    private static final ValueLayout.OfShort SHORT_AT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ORDER);
    private static final VectorSpecies<Float> FOUR = FloatVector.SPECIES_128;
    private static final VectorSpecies<Integer> FOUR_INTS = IntVector.SPECIES_128;
    private static final VectorSpecies<Short> FOUR_SHORTS = ShortVector.SPECIES_64;
    /** The lower halves of two vectors, interleaved, and the upper halves. */
    private static final FloatVector LOW = FloatVector.fromArray(FOUR, new float[] {0, 4, 1, 5}, 0);
    private static final FloatVector HIGH = FloatVector.fromArray(FOUR, new float[] {2, 6, 3, 7}, 0);

    private Packing() {
    }

    /**
     * Packs F32 whose k are neighbours.
     *
     * @param source element (r, k) at {@code at + r * row + k * 4}
     * @param rows rows there are, at most {@code width}
     * @param depth number of k
     * @param width P, a multiple of 4
     */
    static void transpose(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panel, long to,
            long width) {
        for (long k = 0; k < depth; k += RUN) {
            transposeRun(source, at + k * 4, row, rows, Math.min(RUN, depth - k), panel, to + k * width * 4, width);
        }
    }

    /** The same for BF16, element (r, k) at {@code at + r * row + k * 2}; {@code stage} holds RUN · P floats. */
    static void transposeBf16(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panel,
            long to, long width, long stage) {
        for (long k = 0; k < depth; k += RUN) {
            long run = Math.min(RUN, depth - k);
            for (long r = 0; r < rows; r++) {
                widen(source, at + r * row + k * 2, run, panel, stage + r * RUN * 4);
            }
            transposeRun(panel, stage, RUN * 4, rows, run, panel, to + k * width * 4, width);
        }
    }

    /** Packs F32 whose r are neighbours, element (r, k) at {@code at + k * row + r * 4}. */
    static void copy(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panel, long to,
            long width) {
        long step = width * 4;
        long whole = rows & -4;
        for (long k = 0; k < depth; k++) {
            long from = at + k * row;
            long p = to + k * step;
            for (long r = 0; r < whole; r += 4) {
                FloatVector.fromMemorySegment(FOUR, source, from + r * 4, ORDER).intoMemorySegment(panel, p + r * 4,
                        ORDER);
            }
            for (long r = whole; r < rows; r++) {
                panel.set(FLOAT_AT, p + r * 4, source.get(FLOAT_AT, from + r * 4));
            }
        }
        zero(rows, depth, panel, to, width);
    }

    /** The same for BF16, element (r, k) at {@code at + k * row + r * 2}. */
    static void copyBf16(MemorySegment source, long at, long row, long rows, long depth, MemorySegment panel, long to,
            long width) {
        for (long k = 0; k < depth; k++) {
            widen(source, at + k * row, rows, panel, to + k * width * 4);
        }
        zero(rows, depth, panel, to, width);
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
                FloatVector v0 = FloatVector.fromMemorySegment(FOUR, source, r0 + k * 4, ORDER);
                FloatVector v1 = FloatVector.fromMemorySegment(FOUR, source, r1 + k * 4, ORDER);
                FloatVector v2 = FloatVector.fromMemorySegment(FOUR, source, r2 + k * 4, ORDER);
                FloatVector v3 = FloatVector.fromMemorySegment(FOUR, source, r3 + k * 4, ORDER);
                FloatVector low02 = LOW.selectFrom(v0, v2);
                FloatVector high02 = HIGH.selectFrom(v0, v2);
                FloatVector low13 = LOW.selectFrom(v1, v3);
                FloatVector high13 = HIGH.selectFrom(v1, v3);
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

    /** Converts neighbours from BF16, the upper half of an F32, to F32. */
    private static void widen(MemorySegment source, long at, long count, MemorySegment target, long to) {
        long whole = count & -4;
        for (long i = 0; i < whole; i += 4) {
            IntVector halves = (IntVector) ShortVector.fromMemorySegment(FOUR_SHORTS, source, at + i * 2, ORDER)
                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, FOUR_INTS, 0);
            halves.lanewise(VectorOperators.LSHL, 16).intoMemorySegment(target, to + i * 4, ORDER);
        }
        for (long i = whole; i < count; i++) {
            target.set(FLOAT_AT, to + i * 4, Bf16.toFloat(source.get(SHORT_AT, at + i * 2)));
        }
    }

    private static void zero(long rows, long depth, MemorySegment panel, long to, long width) {
        if (rows == width) {
            return;
        }
        for (long k = 0; k < depth; k++) {
            for (long r = rows; r < width; r++) {
                panel.set(FLOAT_AT, to + (k * width + r) * 4, 0);
            }
        }
    }
}
