package org.transnormer.tensor;

import java.util.stream.LongStream;

/**
 * Shares out work on outputs that do not depend on each other, for specs of which the plain loops take minutes. Who
 * computes an output does not enter into it: the same bits for any number of threads.
 */
public final class Independent {
    /** Steps that a thread takes at a time: some tens of microseconds. */
    private static final long STEPS = 1 << 16;

    /** A run of outputs. */
    @FunctionalInterface
    public interface Outputs {
        /** Computes outputs {@code from} (inclusive) to {@code to} (exclusive). */
        void compute(long from, long to);
    }

    private Independent() {
    }

    /**
     * Computes outputs 0 to count - 1, each once, on all cores if there is enough to do.
     *
     * @param steps about how many an output takes
     */
    public static void share(long count, long steps, Outputs outputs) {
        long run = Math.max(1, STEPS / Math.max(1, steps));
        if (count <= run) {
            outputs.compute(0, count);
            return;
        }
        LongStream.range(0, Math.ceilDiv(count, run)).parallel()
                .forEach(i -> outputs.compute(i * run, Math.min(count, (i + 1) * run)));
    }
}
