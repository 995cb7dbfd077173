package org.transnormer.cli;

import java.io.PrintWriter;
import java.time.Duration;
import org.transnormer.train.Trainer;

/** Loss, rate and time left: one line that is rewritten on a terminal, a line now and then elsewhere. */
final class Progress {
    private static final long TERMINAL_INTERVAL = Duration.ofMillis(200).toNanos();
    private static final long LOG_INTERVAL = Duration.ofSeconds(5).toNanos();
    private final PrintWriter out;
    private final long steps;
    private final long first;
    private final boolean terminal = System.console() != null && System.console().isTerminal();
    private final long interval = terminal ? TERMINAL_INTERVAL : LOG_INTERVAL;
    private final long start = System.nanoTime();
    private long shown = start - interval;
    private boolean dirty;
    private long paused;
    private long pausedAt;
    private long tokens;

    /**
     * @param steps steps of the whole run
     * @param first steps that were done before
     */
    Progress(PrintWriter out, long steps, long first) {
        this.out = out;
        this.steps = steps;
        this.first = first;
    }

    synchronized void step(Trainer.Outcome outcome) {
        tokens += outcome.tokens();
        long now = System.nanoTime();
        if (now - shown < interval && outcome.step() < steps) {
            return;
        }
        shown = now;
        String line = line(outcome, (now - start - paused) / 1e9);
        if (terminal) {
            out.print("\r\u001b[K" + line);
            dirty = true;
        } else {
            out.println(line);
        }
        out.flush();
    }

    /** Rate and time left are means over this process's steps. */
    private String line(Trainer.Outcome o, double seconds) {
        long left = Math.round(seconds / (o.step() - first) * (steps - o.step()));
        return "%d/%d  loss %.4f  gradient %.3g  lr %.2e  %,.0f tokens/s  %s left".formatted(o.step(), steps, o.loss(),
                o.gradientNorm(), o.learningRate(), tokens / seconds, time(left));
    }

    /** The time until {@link #resume} is not training time. */
    void pause() {
        pausedAt = System.nanoTime();
    }

    void resume() {
        paused += System.nanoTime() - pausedAt;
    }

    /** A line of its own, that stays; from any thread. */
    synchronized void note(String text) {
        if (dirty) {
            out.println();
            dirty = false;
        }
        out.println(text);
        out.flush();
    }

    private static String time(long seconds) {
        return seconds < 3600 ? "%d:%02d".formatted(seconds / 60, seconds % 60)
                : "%d:%02d:%02d".formatted(seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
}
