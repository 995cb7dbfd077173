package org.transnormer.bench;

import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import org.eclipse.collections.impl.list.mutable.primitive.DoubleArrayList;

/**
 * How long a call takes once it does not get faster any more.
 *
 * @param median nanoseconds
 * @param best nanoseconds
 * @param rounds calls that were timed
 * @param warmUp calls before them
 */
public record Timing(double median, double best, int rounds, int warmUp) {
    private static final CompilationMXBean COMPILER = ManagementFactory.getCompilationMXBean();
    private static final int LEAST_ROUNDS = 5;
    private static final int WINDOW = 3;
    private static final int CALM_WINDOWS = 3;
    /** A window this much faster than all before it was not yet stable. */
    private static final double STILL_FASTER = 0.97;
    /** A share of the time in which the compiler, at work elsewhere, is as good as idle. */
    private static final double IDLE = 0.05;
    private static final double LONGEST_WARM_UP = 20;

    /**
     * Calls until three windows of calls in a row brought nothing, neither a better time nor work for the compiler, at
     * most for twenty times the time given; then times calls.
     *
     * @param seconds to spend on the timed calls, of which there are five at least
     */
    public static Timing of(double seconds, Runnable call) {
        long start = System.nanoTime();
        double best = Double.POSITIVE_INFINITY;
        int warmUp = 0;
        for (int calm = 0; calm < CALM_WINDOWS && secondsSince(start) < LONGEST_WARM_UP * seconds;) {
            long from = System.nanoTime();
            long compiled = COMPILER.getTotalCompilationTime();
            double[] window = calls(seconds / 10, WINDOW, call);
            double compiling = (COMPILER.getTotalCompilationTime() - compiled) / 1e3;
            double median = median(window);
            calm = median < STILL_FASTER * best || compiling > IDLE * secondsSince(from) ? 0 : calm + 1;
            best = Math.min(best, median);
            warmUp += window.length;
        }
        return summary(calls(seconds, LEAST_ROUNDS, call), warmUp);
    }

    private static double secondsSince(long nanoTime) {
        return (System.nanoTime() - nanoTime) / 1e9;
    }

    /** The summary of times in nanoseconds, of which there is one at least. */
    static Timing summary(double[] nanos, int warmUp) {
        return new Timing(median(nanos), Arrays.stream(nanos).min().orElseThrow(), nanos.length, warmUp);
    }

    private static double[] calls(double seconds, int least, Runnable call) {
        DoubleArrayList nanos = new DoubleArrayList();
        long start = System.nanoTime();
        long last = start;
        while (nanos.size() < least || (last - start) / 1e9 < seconds) {
            call.run();
            long now = System.nanoTime();
            nanos.add(now - last);
            last = now;
        }
        return nanos.toArray();
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int half = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }
}
