package org.transnormer.simd;

import java.util.function.LongConsumer;

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

    /** Calls {@code row} with every row, some rows to a task. */
    public static void run(Workers workers, long rows, long columns, LongConsumer row) {
        long perTask = perTask(columns);
        workers.run(tasks(rows, columns), (task, worker) -> {
            long end = Math.min(rows, (task + 1) * perTask);
            for (long t = task * perTask; t < end; t++) {
                row.accept(t);
            }
        });
    }
}
