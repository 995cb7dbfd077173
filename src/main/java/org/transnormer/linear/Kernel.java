package org.transnormer.linear;

import static org.transnormer.simd.Simd.FLOAT;
import static org.transnormer.simd.Simd.LANES;
import static org.transnormer.simd.Simd.ORDER;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/**
 * The inner loops of {@link Gemm}: a block of rows times two vectors of columns, all sums held in registers while k
 * runs. One fused multiply-add per element and k, in order, so a sum has the same bits in any of these kernels.
 *
 * <p>What follows costs a factor of ten where it is missed, because vectors would live on the heap: the sums are one local
 * variable each (no array), no helper returns a vector, and a method is called only on a vector whose class the compiler
 * knows. It knows that of a fresh load, but not of a variable that a loop carries: there the call would go by what other
 * code in the process does with vectors of other lengths, hence {@link #EXACT}.
 */
final class Kernel {
    /** Rows of a packed panel of A. */
    static final int ROWS = 12;
    /** Columns of a packed panel of B. */
    static final int COLUMNS = 32;

    private static final ValueLayout.OfFloat ELEMENT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);
    private static final long VECTOR = LANES * 4L;
    private static final long A_STEP = ROWS * 4L;
    private static final long B_STEP = COLUMNS * 4L;
    /** 512-bit machines have 32 vector registers, enough for 12 rows; others are sure of 16, enough for 6. */
    private static final boolean WIDE = LANES == 16;

    /** The class of vectors of this length. */
    @SuppressWarnings("unchecked")
    private static final Class<FloatVector> EXACT = (Class<FloatVector>) (Class<?>) FLOAT.vectorType();

    private Kernel() {}

    /**
     * out = in + A · B for one pair of packed panels.
     *
     * @param packed holds both panels: element (i, k) of A at a + (12 k + i) · 4, element (k, j) of B at b + (32 k + j) · 4
     * @param depth number of k
     * @param rows how many rows of the panel to compute, rounded up to a multiple of 4
     * @param in the sums so far: row i of 32 floats at from + i · fromRow
     * @param out where the new sums go: row i of 32 floats at to + i · toRow
     */
    static void panel(MemorySegment packed, long a, long b, long depth, long rows, MemorySegment in, long from,
            long fromRow, MemorySegment out, long to, long toRow) {
        for (long j = 0; j < B_STEP; j += 2 * VECTOR) {
            if (rows <= 8) {
                rows4(packed, a, b + j, depth, in, from + j, fromRow, out, to + j, toRow);
                if (rows > 4) {
                    rows4(packed, a + 16, b + j, depth, in, from + 4 * fromRow + j, fromRow, out, to + 4 * toRow + j,
                            toRow);
                }
            } else if (WIDE) {
                rows12(packed, a, b + j, depth, in, from + j, fromRow, out, to + j, toRow);
            } else {
                rows6(packed, a, b + j, depth, in, from + j, fromRow, out, to + j, toRow);
                rows6(packed, a + 24, b + j, depth, in, from + 6 * fromRow + j, fromRow, out, to + 6 * toRow + j,
                        toRow);
            }
        }
    }

    /** 12 rows. */
    private static void rows12(MemorySegment packed, long a, long b, long depth, MemorySegment in, long from,
            long fromRow,
            MemorySegment out, long to, long toRow) {
        FloatVector c00 = FloatVector.fromMemorySegment(FLOAT, in, from, ORDER);
        FloatVector c01 = FloatVector.fromMemorySegment(FLOAT, in, from + VECTOR, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(FLOAT, in, from + fromRow, ORDER);
        FloatVector c11 = FloatVector.fromMemorySegment(FLOAT, in, from + fromRow + VECTOR, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(FLOAT, in, from + 2 * fromRow, ORDER);
        FloatVector c21 = FloatVector.fromMemorySegment(FLOAT, in, from + 2 * fromRow + VECTOR, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(FLOAT, in, from + 3 * fromRow, ORDER);
        FloatVector c31 = FloatVector.fromMemorySegment(FLOAT, in, from + 3 * fromRow + VECTOR, ORDER);
        FloatVector c40 = FloatVector.fromMemorySegment(FLOAT, in, from + 4 * fromRow, ORDER);
        FloatVector c41 = FloatVector.fromMemorySegment(FLOAT, in, from + 4 * fromRow + VECTOR, ORDER);
        FloatVector c50 = FloatVector.fromMemorySegment(FLOAT, in, from + 5 * fromRow, ORDER);
        FloatVector c51 = FloatVector.fromMemorySegment(FLOAT, in, from + 5 * fromRow + VECTOR, ORDER);
        FloatVector c60 = FloatVector.fromMemorySegment(FLOAT, in, from + 6 * fromRow, ORDER);
        FloatVector c61 = FloatVector.fromMemorySegment(FLOAT, in, from + 6 * fromRow + VECTOR, ORDER);
        FloatVector c70 = FloatVector.fromMemorySegment(FLOAT, in, from + 7 * fromRow, ORDER);
        FloatVector c71 = FloatVector.fromMemorySegment(FLOAT, in, from + 7 * fromRow + VECTOR, ORDER);
        FloatVector c80 = FloatVector.fromMemorySegment(FLOAT, in, from + 8 * fromRow, ORDER);
        FloatVector c81 = FloatVector.fromMemorySegment(FLOAT, in, from + 8 * fromRow + VECTOR, ORDER);
        FloatVector c90 = FloatVector.fromMemorySegment(FLOAT, in, from + 9 * fromRow, ORDER);
        FloatVector c91 = FloatVector.fromMemorySegment(FLOAT, in, from + 9 * fromRow + VECTOR, ORDER);
        FloatVector c100 = FloatVector.fromMemorySegment(FLOAT, in, from + 10 * fromRow, ORDER);
        FloatVector c101 = FloatVector.fromMemorySegment(FLOAT, in, from + 10 * fromRow + VECTOR, ORDER);
        FloatVector c110 = FloatVector.fromMemorySegment(FLOAT, in, from + 11 * fromRow, ORDER);
        FloatVector c111 = FloatVector.fromMemorySegment(FLOAT, in, from + 11 * fromRow + VECTOR, ORDER);
        for (long k = 0; k < depth; k++) {
            long ak = a + k * A_STEP;
            long bk = b + k * B_STEP;
            FloatVector b0 = FloatVector.fromMemorySegment(FLOAT, packed, bk, ORDER);
            FloatVector b1 = FloatVector.fromMemorySegment(FLOAT, packed, bk + VECTOR, ORDER);
            FloatVector a0 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak));
            c00 = a0.fma(b0, c00);
            c01 = a0.fma(b1, c01);
            FloatVector a1 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 4));
            c10 = a1.fma(b0, c10);
            c11 = a1.fma(b1, c11);
            FloatVector a2 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 8));
            c20 = a2.fma(b0, c20);
            c21 = a2.fma(b1, c21);
            FloatVector a3 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 12));
            c30 = a3.fma(b0, c30);
            c31 = a3.fma(b1, c31);
            FloatVector a4 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 16));
            c40 = a4.fma(b0, c40);
            c41 = a4.fma(b1, c41);
            FloatVector a5 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 20));
            c50 = a5.fma(b0, c50);
            c51 = a5.fma(b1, c51);
            FloatVector a6 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 24));
            c60 = a6.fma(b0, c60);
            c61 = a6.fma(b1, c61);
            FloatVector a7 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 28));
            c70 = a7.fma(b0, c70);
            c71 = a7.fma(b1, c71);
            FloatVector a8 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 32));
            c80 = a8.fma(b0, c80);
            c81 = a8.fma(b1, c81);
            FloatVector a9 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 36));
            c90 = a9.fma(b0, c90);
            c91 = a9.fma(b1, c91);
            FloatVector a10 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 40));
            c100 = a10.fma(b0, c100);
            c101 = a10.fma(b1, c101);
            FloatVector a11 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 44));
            c110 = a11.fma(b0, c110);
            c111 = a11.fma(b1, c111);
        }
        EXACT.cast(c00).intoMemorySegment(out, to, ORDER);
        EXACT.cast(c01).intoMemorySegment(out, to + VECTOR, ORDER);
        EXACT.cast(c10).intoMemorySegment(out, to + toRow, ORDER);
        EXACT.cast(c11).intoMemorySegment(out, to + toRow + VECTOR, ORDER);
        EXACT.cast(c20).intoMemorySegment(out, to + 2 * toRow, ORDER);
        EXACT.cast(c21).intoMemorySegment(out, to + 2 * toRow + VECTOR, ORDER);
        EXACT.cast(c30).intoMemorySegment(out, to + 3 * toRow, ORDER);
        EXACT.cast(c31).intoMemorySegment(out, to + 3 * toRow + VECTOR, ORDER);
        EXACT.cast(c40).intoMemorySegment(out, to + 4 * toRow, ORDER);
        EXACT.cast(c41).intoMemorySegment(out, to + 4 * toRow + VECTOR, ORDER);
        EXACT.cast(c50).intoMemorySegment(out, to + 5 * toRow, ORDER);
        EXACT.cast(c51).intoMemorySegment(out, to + 5 * toRow + VECTOR, ORDER);
        EXACT.cast(c60).intoMemorySegment(out, to + 6 * toRow, ORDER);
        EXACT.cast(c61).intoMemorySegment(out, to + 6 * toRow + VECTOR, ORDER);
        EXACT.cast(c70).intoMemorySegment(out, to + 7 * toRow, ORDER);
        EXACT.cast(c71).intoMemorySegment(out, to + 7 * toRow + VECTOR, ORDER);
        EXACT.cast(c80).intoMemorySegment(out, to + 8 * toRow, ORDER);
        EXACT.cast(c81).intoMemorySegment(out, to + 8 * toRow + VECTOR, ORDER);
        EXACT.cast(c90).intoMemorySegment(out, to + 9 * toRow, ORDER);
        EXACT.cast(c91).intoMemorySegment(out, to + 9 * toRow + VECTOR, ORDER);
        EXACT.cast(c100).intoMemorySegment(out, to + 10 * toRow, ORDER);
        EXACT.cast(c101).intoMemorySegment(out, to + 10 * toRow + VECTOR, ORDER);
        EXACT.cast(c110).intoMemorySegment(out, to + 11 * toRow, ORDER);
        EXACT.cast(c111).intoMemorySegment(out, to + 11 * toRow + VECTOR, ORDER);
    }

    /** 6 rows. */
    private static void rows6(MemorySegment packed, long a, long b, long depth, MemorySegment in, long from,
            long fromRow,
            MemorySegment out, long to, long toRow) {
        FloatVector c00 = FloatVector.fromMemorySegment(FLOAT, in, from, ORDER);
        FloatVector c01 = FloatVector.fromMemorySegment(FLOAT, in, from + VECTOR, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(FLOAT, in, from + fromRow, ORDER);
        FloatVector c11 = FloatVector.fromMemorySegment(FLOAT, in, from + fromRow + VECTOR, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(FLOAT, in, from + 2 * fromRow, ORDER);
        FloatVector c21 = FloatVector.fromMemorySegment(FLOAT, in, from + 2 * fromRow + VECTOR, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(FLOAT, in, from + 3 * fromRow, ORDER);
        FloatVector c31 = FloatVector.fromMemorySegment(FLOAT, in, from + 3 * fromRow + VECTOR, ORDER);
        FloatVector c40 = FloatVector.fromMemorySegment(FLOAT, in, from + 4 * fromRow, ORDER);
        FloatVector c41 = FloatVector.fromMemorySegment(FLOAT, in, from + 4 * fromRow + VECTOR, ORDER);
        FloatVector c50 = FloatVector.fromMemorySegment(FLOAT, in, from + 5 * fromRow, ORDER);
        FloatVector c51 = FloatVector.fromMemorySegment(FLOAT, in, from + 5 * fromRow + VECTOR, ORDER);
        for (long k = 0; k < depth; k++) {
            long ak = a + k * A_STEP;
            long bk = b + k * B_STEP;
            FloatVector b0 = FloatVector.fromMemorySegment(FLOAT, packed, bk, ORDER);
            FloatVector b1 = FloatVector.fromMemorySegment(FLOAT, packed, bk + VECTOR, ORDER);
            FloatVector a0 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak));
            c00 = a0.fma(b0, c00);
            c01 = a0.fma(b1, c01);
            FloatVector a1 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 4));
            c10 = a1.fma(b0, c10);
            c11 = a1.fma(b1, c11);
            FloatVector a2 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 8));
            c20 = a2.fma(b0, c20);
            c21 = a2.fma(b1, c21);
            FloatVector a3 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 12));
            c30 = a3.fma(b0, c30);
            c31 = a3.fma(b1, c31);
            FloatVector a4 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 16));
            c40 = a4.fma(b0, c40);
            c41 = a4.fma(b1, c41);
            FloatVector a5 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 20));
            c50 = a5.fma(b0, c50);
            c51 = a5.fma(b1, c51);
        }
        EXACT.cast(c00).intoMemorySegment(out, to, ORDER);
        EXACT.cast(c01).intoMemorySegment(out, to + VECTOR, ORDER);
        EXACT.cast(c10).intoMemorySegment(out, to + toRow, ORDER);
        EXACT.cast(c11).intoMemorySegment(out, to + toRow + VECTOR, ORDER);
        EXACT.cast(c20).intoMemorySegment(out, to + 2 * toRow, ORDER);
        EXACT.cast(c21).intoMemorySegment(out, to + 2 * toRow + VECTOR, ORDER);
        EXACT.cast(c30).intoMemorySegment(out, to + 3 * toRow, ORDER);
        EXACT.cast(c31).intoMemorySegment(out, to + 3 * toRow + VECTOR, ORDER);
        EXACT.cast(c40).intoMemorySegment(out, to + 4 * toRow, ORDER);
        EXACT.cast(c41).intoMemorySegment(out, to + 4 * toRow + VECTOR, ORDER);
        EXACT.cast(c50).intoMemorySegment(out, to + 5 * toRow, ORDER);
        EXACT.cast(c51).intoMemorySegment(out, to + 5 * toRow + VECTOR, ORDER);
    }

    /** 4 rows. */
    private static void rows4(MemorySegment packed, long a, long b, long depth, MemorySegment in, long from,
            long fromRow,
            MemorySegment out, long to, long toRow) {
        FloatVector c00 = FloatVector.fromMemorySegment(FLOAT, in, from, ORDER);
        FloatVector c01 = FloatVector.fromMemorySegment(FLOAT, in, from + VECTOR, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(FLOAT, in, from + fromRow, ORDER);
        FloatVector c11 = FloatVector.fromMemorySegment(FLOAT, in, from + fromRow + VECTOR, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(FLOAT, in, from + 2 * fromRow, ORDER);
        FloatVector c21 = FloatVector.fromMemorySegment(FLOAT, in, from + 2 * fromRow + VECTOR, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(FLOAT, in, from + 3 * fromRow, ORDER);
        FloatVector c31 = FloatVector.fromMemorySegment(FLOAT, in, from + 3 * fromRow + VECTOR, ORDER);
        for (long k = 0; k < depth; k++) {
            long ak = a + k * A_STEP;
            long bk = b + k * B_STEP;
            FloatVector b0 = FloatVector.fromMemorySegment(FLOAT, packed, bk, ORDER);
            FloatVector b1 = FloatVector.fromMemorySegment(FLOAT, packed, bk + VECTOR, ORDER);
            FloatVector a0 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak));
            c00 = a0.fma(b0, c00);
            c01 = a0.fma(b1, c01);
            FloatVector a1 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 4));
            c10 = a1.fma(b0, c10);
            c11 = a1.fma(b1, c11);
            FloatVector a2 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 8));
            c20 = a2.fma(b0, c20);
            c21 = a2.fma(b1, c21);
            FloatVector a3 = FloatVector.broadcast(FLOAT, packed.get(ELEMENT, ak + 12));
            c30 = a3.fma(b0, c30);
            c31 = a3.fma(b1, c31);
        }
        EXACT.cast(c00).intoMemorySegment(out, to, ORDER);
        EXACT.cast(c01).intoMemorySegment(out, to + VECTOR, ORDER);
        EXACT.cast(c10).intoMemorySegment(out, to + toRow, ORDER);
        EXACT.cast(c11).intoMemorySegment(out, to + toRow + VECTOR, ORDER);
        EXACT.cast(c20).intoMemorySegment(out, to + 2 * toRow, ORDER);
        EXACT.cast(c21).intoMemorySegment(out, to + 2 * toRow + VECTOR, ORDER);
        EXACT.cast(c30).intoMemorySegment(out, to + 3 * toRow, ORDER);
        EXACT.cast(c31).intoMemorySegment(out, to + 3 * toRow + VECTOR, ORDER);
    }
}
