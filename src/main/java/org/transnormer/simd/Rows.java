package org.transnormer.simd;

/** How elementwise work on rows is cut into tasks: by shape only. */
public final class Rows {
    /** Elements of a task: long enough to outweigh handing it out, short enough to balance. */
    private static final long ELEMENTS = 1L << 14;

    private Rows() {
    }

    /** Rows of one task. */
    public static long perTask(long columns) {
        return Math.max(1, ELEMENTS / Math.max(1, columns));
    }

    /** Number of tasks. */
    public static long tasks(long rows, long columns) {
        return Math.ceilDiv(rows, perTask(columns));
    }
}
