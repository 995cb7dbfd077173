package org.transnormer.bench;

import java.util.Arrays;
import org.transnormer.backend.Backend;
import org.transnormer.backend.Mark;

/** Times of enqueued work, by marks around each call, so that the host's part does not count. */
final class MarkedTiming {
    private static final int WARM_UP = 3;
    /** Until then the host's own code may be slower than what it enqueues. */
    private static final double WARM_UP_SECONDS = 0.3;

    private MarkedTiming() {
    }

    /** The median time of a call in nanoseconds, the rounds enqueued one behind the other after a few that do not count. */
    static double median(Backend backend, int rounds, Runnable call) {
        long start = System.nanoTime();
        for (int i = 0; i < WARM_UP || (System.nanoTime() - start) / 1e9 < WARM_UP_SECONDS; i++) {
            Mark before = backend.mark();
            call.run();
            Mark after = backend.mark();
            after.nanosSince(before);
            before.release();
            after.release();
        }
        Mark[] marks = new Mark[rounds + 1];
        marks[0] = backend.mark();
        for (int i = 1; i <= rounds; i++) {
            call.run();
            marks[i] = backend.mark();
        }
        double[] nanos = new double[rounds];
        for (int i = 0; i < rounds; i++) {
            nanos[i] = marks[i + 1].nanosSince(marks[i]);
        }
        Arrays.asList(marks).forEach(Mark::release);
        Arrays.sort(nanos);
        return nanos[rounds / 2];
    }
}
