package org.transnormer.linear;

import java.lang.foreign.MemorySegment;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** A factor as {@link Gemm} sees it: elements (r, k), r a row of A or a column of B, in one of two storage orders. */
final class Operand {
    private MemorySegment segment;
    private boolean bf16;
    private boolean neighboursInK;
    private long at;
    private long row;

    /** r runs over the rows of t, k over its columns. */
    void rowsOf(Tensor t) {
        set(t, true);
    }

    /** r runs over the columns of t, k over its rows. */
    void columnsOf(Tensor t) {
        set(t, false);
    }

    private void set(Tensor t, boolean inK) {
        segment = t.segment();
        bf16 = t.dtype() == DType.BF16;
        neighboursInK = inK;
        at = t.byteOffset();
        row = t.stride(0) * t.dtype().bytes();
    }

    /** Whether elements that differ by one in k are neighbours. */
    boolean neighboursInK() {
        return neighboursInK;
    }

    /** Dot product of row r, over {@code depth} k, with row s of an F32 factor; both have neighbours in k. */
    float dot(long r, Operand other, long s, long depth) {
        long x = other.at + s * other.row;
        return bf16 ? DotProduct.bf16(segment, at + r * row, other.segment, x, depth)
                : DotProduct.f32(segment, at + r * row, other.segment, x, depth);
    }

    /**
     * Packs rows {@code r} to r + rows - 1 and {@code depth} k from {@code k} on into panels that follow each other.
     *
     * @param panels where the panels go, at {@code to}, and where scratch for one run of k is, at {@code stage}
     * @param width rows of a panel
     */
    void pack(long r, long rows, long k, long depth, MemorySegment panels, long to, long width, long stage) {
        long bytes = bf16 ? 2 : 4;
        if (neighboursInK) {
            long from = at + r * row + k * bytes;
            if (bf16) {
                Packing.transposeBf16(segment, from, row, rows, depth, panels, to, width, stage);
            } else {
                Packing.transpose(segment, from, row, rows, depth, panels, to, width);
            }
        } else {
            long from = at + k * row + r * bytes;
            if (bf16) {
                Packing.copyBf16(segment, from, row, rows, depth, panels, to, width);
            } else {
                Packing.copy(segment, from, row, rows, depth, panels, to, width);
            }
        }
    }
}
