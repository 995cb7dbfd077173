package org.transnormer.bench;

import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import org.eclipse.collections.impl.list.mutable.primitive.DoubleArrayList;

/**
 * How long a call takes once it does not get faster any more.
 *
 * @param median nanoseconds
 * @param best nanoseconds
 * @param rounds calls that were timed, or turns of calls
 * @param warmUp calls before them
 */
public record Timing(double median, double best, int rounds, int warmUp) {
    private static final CompilationMXBean COMPILER = ManagementFactory.getCompilationMXBean();
    private static final int LEAST_ROUNDS = 5;
    /** A spell this much faster than all before it was not yet stable. */
    private static final double STILL_FASTER = 0.97;
    /** A share of the time in which the compiler, at work elsewhere, is as good as idle. */
    private static final double IDLE = 0.05;
    private static final int MOST_SPELLS = 20;
    /** A turn lasts this long at least: what the other calls left in the caches is a small part of it. */
    private static final double TURN = 0.05;

    /**
     * Calls in spells of the time given, of five calls at least each, until one is no faster than those before and
     * compiled nothing to speak of; that one counts, or the twentieth.
     */
    public static Timing of(double seconds, Runnable call) {
        return of(seconds, call, again -> again);
    }

    /**
     * The same, of a call that several processes make together.
     *
     * @param agreed what one of them, the same each time, says to the question whether to go on; all ask at the same points
     */
    static Timing of(double seconds, Runnable call, UnaryOperator<Boolean> agreed) {
        double best = Double.POSITIVE_INFINITY;
        int warmUp = 0;
        for (int spell = 1;; spell++) {
            long start = System.nanoTime();
            long compiled = COMPILER.getTotalCompilationTime();
            double[] nanos = calls(seconds, call, agreed);
            double compiling = (COMPILER.getTotalCompilationTime() - compiled) * 1e6 / (System.nanoTime() - start);
            double median = median(nanos);
            if (!agreed.apply((median <= STILL_FASTER * best || compiling >= IDLE) && spell < MOST_SPELLS)) {
                return summary(nanos, warmUp);
            }
            best = Math.min(best, median);
            warmUp += nanos.length;
        }
    }

    /**
     * Several calls in turns, so that what disturbs the machine hits all of them alike, once each has settled by itself.
     * A turn repeats its call for a while and counts with the mean.
     *
     * @param seconds least time spent on each call, not counting the warm-up
     * @return in the order of the calls
     */
    public static List<Timing> inTurns(double seconds, List<Runnable> calls) {
        int[] warmUp = calls.stream().mapToInt(call -> of(seconds, call).total()).toArray();
        List<DoubleArrayList> nanos = calls.stream().map(call -> new DoubleArrayList()).toList();
        long start = System.nanoTime();
        while (nanos.getFirst().size() < LEAST_ROUNDS || (System.nanoTime() - start) / 1e9 < seconds * calls.size()) {
            for (int i = 0; i < warmUp.length; i++) {
                nanos.get(i).add(turn(calls.get(i)));
            }
        }
        List<Timing> timings = new ArrayList<>();
        for (int i = 0; i < warmUp.length; i++) {
            timings.add(summary(nanos.get(i).toArray(), warmUp[i]));
        }
        return timings;
    }

    /** The summary of times in nanoseconds, of which there is one at least. */
    static Timing summary(double[] nanos, int warmUp) {
        return new Timing(median(nanos), Arrays.stream(nanos).min().orElseThrow(), nanos.length, warmUp);
    }

    /** Calls in all. */
    private int total() {
        return rounds + warmUp;
    }

    /** Nanoseconds of one call, averaged over as many as last a twentieth of a second. */
    static double turn(Runnable call) {
        long start = System.nanoTime();
        int calls = 0;
        long now;
        do {
            call.run();
            calls++;
            now = System.nanoTime();
        } while ((now - start) / 1e9 < TURN);
        return (double) (now - start) / calls;
    }

    private static double[] calls(double seconds, Runnable call, UnaryOperator<Boolean> agreed) {
        DoubleArrayList nanos = new DoubleArrayList();
        long start = System.nanoTime();
        long last = start;
        do {
            call.run();
            long now = System.nanoTime();
            nanos.add((double) (now - last));
            last = now;
        } while (agreed.apply(nanos.size() < LEAST_ROUNDS || (last - start) / 1e9 < seconds));
        return nanos.toArray();
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int half = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }
}
