package org.transnormer.cuda;

import org.transnormer.tensor.DType;

/** How elementwise kernels cut a matrix into threads: the host's side of {@code cuda/tiles.cuh}. */
public final class RowTiles {
    private static final int ROWS = 4;
    private static final int THREADS = 256;
    private static final int WARP = 32;

    private RowTiles() {
    }

    /**
     * Sets grid and block for (rows, heads, columns), none of them 0: blocks as wide as a row where that fits, so that no
     * thread is left without columns but in a row's last warp.
     */
    public static void cut(Launch launch, long rows, long heads, long columns, DType dtype) {
        long pieces = pieces(columns, dtype);
        int wide = (int) Math.ceilDiv(pieces, Math.ceilDiv(pieces, THREADS));
        int x = width(wide);
        int y = (int) Math.min(THREADS / x, rows);
        launch.grid(Math.ceilDiv(rows, (long) ROWS * y), Math.ceilDiv(pieces, x), heads).block(x, y, 1);
    }

    /** Loads of 16 bytes in a row. */
    public static long pieces(long columns, DType dtype) {
        return Math.ceilDiv(columns, 16 / dtype.bytes());
    }

    /** Threads for so many pieces: whole warps, or a part of one that rows share. */
    public static int width(int pieces) {
        return pieces >= WARP ? Math.ceilDiv(pieces, WARP) * WARP : Integer.highestOneBit(Math.max(1, 2 * pieces - 1));
    }
}
