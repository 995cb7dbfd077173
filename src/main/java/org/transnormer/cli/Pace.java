package org.transnormer.cli;

import java.util.ArrayDeque;
import java.util.OptionalDouble;

/**
 * How fast steps end, by the last few seconds of them. The first step is not counted: it pays for memory that is touched
 * and for code that is compiled for the first time.
 */
final class Pace {
    private final ArrayDeque<Mark> marks = new ArrayDeque<>();
    private final long window;
    private long tokens;

    /** The end of a step: when, and the tokens of all steps so far. */
    private record Mark(long nanos, long tokens) {
    }

    /** @param window nanoseconds to look back */
    Pace(long window) {
        this.window = window;
    }

    /**
     * A step has ended.
     *
     * @param nanos the time, without that in which no step ran
     * @param stepTokens tokens of this step
     */
    void step(long nanos, long stepTokens) {
        tokens += stepTokens;
        marks.addLast(new Mark(nanos, tokens));
        Mark oldest = marks.removeFirst();
        while (!marks.isEmpty() && nanos - marks.getFirst().nanos >= window) {
            oldest = marks.removeFirst();
        }
        marks.addFirst(oldest);
    }

    /** Tokens per second; none after the first step. */
    OptionalDouble tokensPerSecond() {
        return nanos() == 0 ? OptionalDouble.empty()
                : OptionalDouble.of((marks.getLast().tokens - marks.getFirst().tokens) * 1e9 / nanos());
    }

    /** Seconds that {@code steps} more take; none as long as the steps seen do not fill the window. */
    OptionalDouble secondsLeft(long steps) {
        return nanos() < window ? OptionalDouble.empty()
                : OptionalDouble.of(nanos() / 1e9 / (marks.size() - 1) * steps);
    }

    private long nanos() {
        return marks.isEmpty() ? 0 : marks.getLast().nanos - marks.getFirst().nanos;
    }
}
