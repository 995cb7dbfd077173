package org.transnormer.lightning;

import static jdk.incubator.vector.FloatVector.broadcast;
import static jdk.incubator.vector.FloatVector.fromMemorySegment;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;
import org.transnormer.simd.Simd;

/**
 * The matrix kernels of {@link LightningVector}, on row-major matrices in one scratch segment: positions and distances
 * are bytes, rows are padded to {@link #pad} floats, and what the padding holds reaches nothing but padding.
 *
 * <p>Vectors are neither passed to methods of our own nor returned by them: where the compiler then ran out of its budget
 * for inlining, they would become objects.
 *
 * <p>Each element of a product is one chain of fused multiply-adds in the order of the summed index, in a vector lane of
 * its own, so that neither the vector width nor the shape of a tile shows in the bits.
 */
final class LightningTiles {
    /** Rows of a tile. */
    static final long ROWS = 4;

    private static final long PAD = 32;
    private static final VectorSpecies<Float> SPECIES = Simd.FLOAT;
    private static final ByteOrder ORDER = Simd.ORDER;
    private static final long LANES = Simd.LANES;
    private static final long W = LANES * Float.BYTES;
    /** 4 x 4 vectors need more than the 16 registers that processors with 256-bit vectors have. */
    private static final boolean FOUR_VECTORS = LANES != 8;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(Simd.ORDER);

    private static final VectorShuffle<Float> SWAP_1 = swap(1);
    private static final VectorShuffle<Float> SWAP_2 = swap(2);
    private static final VectorShuffle<Float> SWAP_4 = swap(4);
    private static final VectorShuffle<Float> SWAP_8 = swap(8);
    private static final VectorMask<Float> ODD_1 = odd(1);
    private static final VectorMask<Float> ODD_2 = odd(2);
    private static final VectorMask<Float> ODD_4 = odd(4);
    private static final VectorMask<Float> ODD_8 = odd(8);

    private LightningTiles() {
    }

    /** Floats in a padded row of n. */
    static long pad(long n) {
        return Math.ceilDiv(n, PAD) * PAD;
    }

    /**
     * C = A B for 4 rows.
     *
     * @param a A (4, k); aRow and aColumn are its distances, so that A may lie transposed
     * @param b B (k, columns)
     * @param c C (4, columns)
     * @param columns a multiple of 32
     */
    static void multiply(MemorySegment m, long a, long aRow, long aColumn, long b, long bRow, long k, long c, long cRow,
            long columns) {
        long width = columns * Float.BYTES;
        long at = 0;
        if (FOUR_VECTORS) {
            for (; at + 4 * W <= width; at += 4 * W) {
                tile4(m, a, aRow, aColumn, b + at, bRow, k, c + at, cRow);
            }
        }
        for (; at < width; at += 2 * W) {
            tile2(m, a, aRow, aColumn, b + at, bRow, k, c + at, cRow);
        }
    }

    private static void tile4(MemorySegment m, long a, long aRow, long aColumn, long b, long bRow, long k, long c,
            long cRow) {
        FloatVector zero = FloatVector.zero(SPECIES);
        FloatVector s00 = zero;
        FloatVector s01 = zero;
        FloatVector s02 = zero;
        FloatVector s03 = zero;
        FloatVector s10 = zero;
        FloatVector s11 = zero;
        FloatVector s12 = zero;
        FloatVector s13 = zero;
        FloatVector s20 = zero;
        FloatVector s21 = zero;
        FloatVector s22 = zero;
        FloatVector s23 = zero;
        FloatVector s30 = zero;
        FloatVector s31 = zero;
        FloatVector s32 = zero;
        FloatVector s33 = zero;
        for (long i = 0; i < k; i++, a += aColumn, b += bRow) {
            FloatVector b0 = fromMemorySegment(SPECIES, m, b, ORDER);
            FloatVector b1 = fromMemorySegment(SPECIES, m, b + W, ORDER);
            FloatVector b2 = fromMemorySegment(SPECIES, m, b + 2 * W, ORDER);
            FloatVector b3 = fromMemorySegment(SPECIES, m, b + 3 * W, ORDER);
            FloatVector x = broadcast(SPECIES, m.get(FLOAT, a));
            s00 = x.fma(b0, s00);
            s01 = x.fma(b1, s01);
            s02 = x.fma(b2, s02);
            s03 = x.fma(b3, s03);
            x = broadcast(SPECIES, m.get(FLOAT, a + aRow));
            s10 = x.fma(b0, s10);
            s11 = x.fma(b1, s11);
            s12 = x.fma(b2, s12);
            s13 = x.fma(b3, s13);
            x = broadcast(SPECIES, m.get(FLOAT, a + 2 * aRow));
            s20 = x.fma(b0, s20);
            s21 = x.fma(b1, s21);
            s22 = x.fma(b2, s22);
            s23 = x.fma(b3, s23);
            x = broadcast(SPECIES, m.get(FLOAT, a + 3 * aRow));
            s30 = x.fma(b0, s30);
            s31 = x.fma(b1, s31);
            s32 = x.fma(b2, s32);
            s33 = x.fma(b3, s33);
        }
        s00.intoMemorySegment(m, c, ORDER);
        s01.intoMemorySegment(m, c + W, ORDER);
        s02.intoMemorySegment(m, c + 2 * W, ORDER);
        s03.intoMemorySegment(m, c + 3 * W, ORDER);
        c += cRow;
        s10.intoMemorySegment(m, c, ORDER);
        s11.intoMemorySegment(m, c + W, ORDER);
        s12.intoMemorySegment(m, c + 2 * W, ORDER);
        s13.intoMemorySegment(m, c + 3 * W, ORDER);
        c += cRow;
        s20.intoMemorySegment(m, c, ORDER);
        s21.intoMemorySegment(m, c + W, ORDER);
        s22.intoMemorySegment(m, c + 2 * W, ORDER);
        s23.intoMemorySegment(m, c + 3 * W, ORDER);
        c += cRow;
        s30.intoMemorySegment(m, c, ORDER);
        s31.intoMemorySegment(m, c + W, ORDER);
        s32.intoMemorySegment(m, c + 2 * W, ORDER);
        s33.intoMemorySegment(m, c + 3 * W, ORDER);
    }

    private static void tile2(MemorySegment m, long a, long aRow, long aColumn, long b, long bRow, long k, long c,
            long cRow) {
        FloatVector zero = FloatVector.zero(SPECIES);
        FloatVector s00 = zero;
        FloatVector s01 = zero;
        FloatVector s10 = zero;
        FloatVector s11 = zero;
        FloatVector s20 = zero;
        FloatVector s21 = zero;
        FloatVector s30 = zero;
        FloatVector s31 = zero;
        for (long i = 0; i < k; i++, a += aColumn, b += bRow) {
            FloatVector b0 = fromMemorySegment(SPECIES, m, b, ORDER);
            FloatVector b1 = fromMemorySegment(SPECIES, m, b + W, ORDER);
            FloatVector x = broadcast(SPECIES, m.get(FLOAT, a));
            s00 = x.fma(b0, s00);
            s01 = x.fma(b1, s01);
            x = broadcast(SPECIES, m.get(FLOAT, a + aRow));
            s10 = x.fma(b0, s10);
            s11 = x.fma(b1, s11);
            x = broadcast(SPECIES, m.get(FLOAT, a + 2 * aRow));
            s20 = x.fma(b0, s20);
            s21 = x.fma(b1, s21);
            x = broadcast(SPECIES, m.get(FLOAT, a + 3 * aRow));
            s30 = x.fma(b0, s30);
            s31 = x.fma(b1, s31);
        }
        s00.intoMemorySegment(m, c, ORDER);
        s01.intoMemorySegment(m, c + W, ORDER);
        c += cRow;
        s10.intoMemorySegment(m, c, ORDER);
        s11.intoMemorySegment(m, c + W, ORDER);
        c += cRow;
        s20.intoMemorySegment(m, c, ORDER);
        s21.intoMemorySegment(m, c + W, ORDER);
        c += cRow;
        s30.intoMemorySegment(m, c, ORDER);
        s31.intoMemorySegment(m, c + W, ORDER);
    }

    /**
     * C += A B, where A is the strictly lower part of each 4 x 4 corner on the diagonal: of 4 rows the second takes one
     * term, the third two, the last three. Leaving the zeros out, rather than multiplying by them, keeps an infinity or
     * NaN of a later token, and the sign of its zeros, out of earlier ones.
     *
     * @param a A (rows, rows)
     * @param b B (rows, columns)
     * @param rows rounded up to a multiple of 4
     * @param columns a multiple of 32
     */
    static void multiplyAddCorners(MemorySegment m, long a, long aRow, long b, long bRow, long rows, long c, long cRow,
            long columns) {
        long width = columns * Float.BYTES;
        for (long at = 0; at < width; at += W) {
            long diagonal = a;
            long bAt = b + at;
            long c1 = c + at + cRow;
            for (long r = 0; r < rows; r += ROWS) {
                long a1 = diagonal + aRow;
                long a2 = a1 + aRow;
                long a3 = a2 + aRow;
                long c2 = c1 + cRow;
                long c3 = c2 + cRow;
                FloatVector b0 = fromMemorySegment(SPECIES, m, bAt, ORDER);
                FloatVector b1 = fromMemorySegment(SPECIES, m, bAt + bRow, ORDER);
                FloatVector b2 = fromMemorySegment(SPECIES, m, bAt + 2 * bRow, ORDER);
                FloatVector s1 = fromMemorySegment(SPECIES, m, c1, ORDER);
                FloatVector s2 = fromMemorySegment(SPECIES, m, c2, ORDER);
                FloatVector s3 = fromMemorySegment(SPECIES, m, c3, ORDER);
                s1 = broadcast(SPECIES, m.get(FLOAT, a1)).fma(b0, s1);
                s2 = broadcast(SPECIES, m.get(FLOAT, a2)).fma(b0, s2);
                s3 = broadcast(SPECIES, m.get(FLOAT, a3)).fma(b0, s3);
                s2 = broadcast(SPECIES, m.get(FLOAT, a2 + Float.BYTES)).fma(b1, s2);
                s3 = broadcast(SPECIES, m.get(FLOAT, a3 + Float.BYTES)).fma(b1, s3);
                s3 = broadcast(SPECIES, m.get(FLOAT, a3 + 2 * Float.BYTES)).fma(b2, s3);
                s1.intoMemorySegment(m, c1, ORDER);
                s2.intoMemorySegment(m, c2, ORDER);
                s3.intoMemorySegment(m, c3, ORDER);
                diagonal += ROWS * (aRow + Float.BYTES);
                bAt += ROWS * bRow;
                c1 += ROWS * cRow;
            }
        }
    }

    /** X = 0; count is a multiple of 32. */
    static void zero(MemorySegment m, long x, long count) {
        FloatVector zero = FloatVector.zero(SPECIES);
        long end = x + count * Float.BYTES;
        for (; x < end; x += W) {
            zero.intoMemorySegment(m, x, ORDER);
        }
    }

    /**
     * X ← X ⊙ E.
     *
     * @param e row 0 of E; each further row begins one float earlier, as powers of a decay do
     * @param columns a multiple of 32
     */
    static void multiplyElements(MemorySegment m, long x, long xRow, long rows, long columns, long e) {
        long width = columns * Float.BYTES;
        for (long at = 0; at < width; at += W) {
            long xAt = x + at;
            long eAt = e + at;
            for (long r = 0; r < rows; r++, xAt += xRow, eAt -= Float.BYTES) {
                FloatVector factors = fromMemorySegment(SPECIES, m, eAt, ORDER);
                fromMemorySegment(SPECIES, m, xAt, ORDER).mul(factors).intoMemorySegment(m, xAt, ORDER);
            }
        }
    }

    /**
     * X ← diag(f) X.
     *
     * @param row distance of rows; all of it is scaled
     * @param f the factor of row 0; the others follow
     */
    static void scaleRows(MemorySegment m, long x, long row, long rows, long f) {
        for (long at = 0; at < row; at += W) {
            long xAt = x + at;
            long fAt = f;
            for (long r = 0; r < rows; r++, xAt += row, fAt += Float.BYTES) {
                FloatVector factor = broadcast(SPECIES, m.get(FLOAT, fAt));
                fromMemorySegment(SPECIES, m, xAt, ORDER).mul(factor).intoMemorySegment(m, xAt, ORDER);
            }
        }
    }

    /**
     * X ← X + diag(f) Y.
     *
     * @param row distance of rows; all of it is added
     * @param f the factor of row 0; each further one lies one float earlier, as powers of a decay do
     */
    static void addScaledRows(MemorySegment m, long x, long y, long row, long rows, long f) {
        for (long at = 0; at < row; at += W) {
            long xAt = x + at;
            long yAt = y + at;
            long fAt = f;
            for (long r = 0; r < rows; r++, xAt += row, yAt += row, fAt -= Float.BYTES) {
                FloatVector factor = broadcast(SPECIES, m.get(FLOAT, fAt));
                FloatVector sum = fromMemorySegment(SPECIES, m, xAt, ORDER);
                fromMemorySegment(SPECIES, m, yAt, ORDER).fma(factor, sum).intoMemorySegment(m, xAt, ORDER);
            }
        }
    }

    /** S ← f S + D, for a factor f = high + low of twice the precision; count is a multiple of 32. */
    static void scaleAdd(MemorySegment m, long s, long d, long count, float high, float low) {
        FloatVector highs = broadcast(SPECIES, high);
        FloatVector lows = broadcast(SPECIES, low);
        long end = s + count * Float.BYTES;
        for (; s < end; s += W, d += W) {
            FloatVector x = fromMemorySegment(SPECIES, m, s, ORDER);
            FloatVector y = fromMemorySegment(SPECIES, m, d, ORDER);
            x.fma(highs, x.fma(lows, y)).intoMemorySegment(m, s, ORDER);
        }
    }

    /** D ← S and S ← f S + D, as {@link #scaleAdd}. */
    static void exchangeScaleAdd(MemorySegment m, long s, long d, long count, float high, float low) {
        FloatVector highs = broadcast(SPECIES, high);
        FloatVector lows = broadcast(SPECIES, low);
        long end = s + count * Float.BYTES;
        for (; s < end; s += W, d += W) {
            FloatVector x = fromMemorySegment(SPECIES, m, s, ORDER);
            FloatVector y = fromMemorySegment(SPECIES, m, d, ORDER);
            x.intoMemorySegment(m, d, ORDER);
            x.fma(highs, x.fma(lows, y)).intoMemorySegment(m, s, ORDER);
        }
    }

    /** Copies rows of {@code columns} floats from anywhere to anywhere; distances may be negative. */
    static void copyRows(MemorySegment from, long x, long xRow, MemorySegment to, long y, long yRow, long rows,
            long columns) {
        long width = columns * Float.BYTES;
        long at = 0;
        for (; at + 4 * W <= width; at += 4 * W) {
            long xAt = x + at;
            long yAt = y + at;
            for (long r = 0; r < rows; r++, xAt += xRow, yAt += yRow) {
                fromMemorySegment(SPECIES, from, xAt, ORDER).intoMemorySegment(to, yAt, ORDER);
                fromMemorySegment(SPECIES, from, xAt + W, ORDER).intoMemorySegment(to, yAt + W, ORDER);
                fromMemorySegment(SPECIES, from, xAt + 2 * W, ORDER).intoMemorySegment(to, yAt + 2 * W, ORDER);
                fromMemorySegment(SPECIES, from, xAt + 3 * W, ORDER).intoMemorySegment(to, yAt + 3 * W, ORDER);
            }
        }
        for (; at + W <= width; at += W) {
            long xAt = x + at;
            long yAt = y + at;
            for (long r = 0; r < rows; r++, xAt += xRow, yAt += yRow) {
                fromMemorySegment(SPECIES, from, xAt, ORDER).intoMemorySegment(to, yAt, ORDER);
            }
        }
        if (at < width) {
            VectorMask<Float> rest = SPECIES.indexInRange(at / Float.BYTES, columns);
            long xAt = x + at;
            long yAt = y + at;
            for (long r = 0; r < rows; r++, xAt += xRow, yAt += yRow) {
                fromMemorySegment(SPECIES, from, xAt, ORDER, rest).intoMemorySegment(to, yAt, ORDER, rest);
            }
        }
    }

    /**
     * Y = Xᵀ, for X (rows, columns), both padded to multiples of 32 and not overlapping. Blocks of one vector by one
     * vector are transposed by exchanging, at distance 1, 2, 4, ... the entries whose row and column differ in that bit.
     */
    static void transpose(MemorySegment m, long x, long xRow, long rows, long columns, long y, long yRow) {
        for (long r = 0; r < rows; r += LANES) {
            for (long c = 0; c < columns; c += LANES) {
                long from = x + r * xRow + c * Float.BYTES;
                long to = y + c * yRow + r * Float.BYTES;
                for (long i = 0; i < LANES; i += 4) {
                    exchange12(m, from + i * xRow, xRow, to + i * yRow, yRow);
                }
                if (LANES == 8) {
                    for (long i = 0; i < 4; i++) {
                        exchange4(m, to + i * yRow, 4 * yRow);
                    }
                } else if (LANES == 16) {
                    for (long i = 0; i < 4; i++) {
                        exchange48(m, to + i * yRow, 4 * yRow);
                    }
                }
            }
        }
    }

    /** The exchanges at distance 1 and 2 for 4 neighbouring rows. */
    private static void exchange12(MemorySegment m, long from, long fromRow, long to, long toRow) {
        FloatVector a = fromMemorySegment(SPECIES, m, from, ORDER);
        FloatVector b = fromMemorySegment(SPECIES, m, from + fromRow, ORDER);
        FloatVector c = fromMemorySegment(SPECIES, m, from + 2 * fromRow, ORDER);
        FloatVector d = fromMemorySegment(SPECIES, m, from + 3 * fromRow, ORDER);
        FloatVector ab = a.blend(b.rearrange(SWAP_1), ODD_1);
        FloatVector ba = a.rearrange(SWAP_1).blend(b, ODD_1);
        FloatVector cd = c.blend(d.rearrange(SWAP_1), ODD_1);
        FloatVector dc = c.rearrange(SWAP_1).blend(d, ODD_1);
        ab.blend(cd.rearrange(SWAP_2), ODD_2).intoMemorySegment(m, to, ORDER);
        ba.blend(dc.rearrange(SWAP_2), ODD_2).intoMemorySegment(m, to + toRow, ORDER);
        ab.rearrange(SWAP_2).blend(cd, ODD_2).intoMemorySegment(m, to + 2 * toRow, ORDER);
        ba.rearrange(SWAP_2).blend(dc, ODD_2).intoMemorySegment(m, to + 3 * toRow, ORDER);
    }

    /** The exchange at distance 4 for 2 rows, in place. */
    private static void exchange4(MemorySegment m, long x, long row) {
        FloatVector a = fromMemorySegment(SPECIES, m, x, ORDER);
        FloatVector b = fromMemorySegment(SPECIES, m, x + row, ORDER);
        a.blend(b.rearrange(SWAP_4), ODD_4).intoMemorySegment(m, x, ORDER);
        a.rearrange(SWAP_4).blend(b, ODD_4).intoMemorySegment(m, x + row, ORDER);
    }

    /** The exchanges at distance 4 and 8 for 4 rows, in place. */
    private static void exchange48(MemorySegment m, long x, long row) {
        FloatVector a = fromMemorySegment(SPECIES, m, x, ORDER);
        FloatVector b = fromMemorySegment(SPECIES, m, x + row, ORDER);
        FloatVector c = fromMemorySegment(SPECIES, m, x + 2 * row, ORDER);
        FloatVector d = fromMemorySegment(SPECIES, m, x + 3 * row, ORDER);
        FloatVector ab = a.blend(b.rearrange(SWAP_4), ODD_4);
        FloatVector ba = a.rearrange(SWAP_4).blend(b, ODD_4);
        FloatVector cd = c.blend(d.rearrange(SWAP_4), ODD_4);
        FloatVector dc = c.rearrange(SWAP_4).blend(d, ODD_4);
        ab.blend(cd.rearrange(SWAP_8), ODD_8).intoMemorySegment(m, x, ORDER);
        ba.blend(dc.rearrange(SWAP_8), ODD_8).intoMemorySegment(m, x + row, ORDER);
        ab.rearrange(SWAP_8).blend(cd, ODD_8).intoMemorySegment(m, x + 2 * row, ORDER);
        ba.rearrange(SWAP_8).blend(dc, ODD_8).intoMemorySegment(m, x + 3 * row, ORDER);
    }

    /** Lane i takes lane i xor distance. */
    private static VectorShuffle<Float> swap(int distance) {
        return VectorShuffle.fromOp(SPECIES, i -> (i ^ distance) % Simd.LANES);
    }

    /** The lanes whose number has this bit. */
    private static VectorMask<Float> odd(int distance) {
        return VectorMask.fromLong(SPECIES, odds(distance));
    }

    private static long odds(int distance) {
        long bits = 0;
        for (int i = 0; i < Simd.LANES; i++) {
            bits |= (i & distance) != 0 ? 1L << i : 0;
        }
        return bits;
    }
}
