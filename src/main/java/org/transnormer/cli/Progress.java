package org.transnormer.cli;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.function.LongSupplier;
import org.transnormer.train.Trainer;

/** Loss, rate and time left: one line that is rewritten on a terminal, a line now and then elsewhere. */
final class Progress {
    private static final long TERMINAL_INTERVAL = Duration.ofMillis(200).toNanos();
    private static final long LOG_INTERVAL = Duration.ofSeconds(5).toNanos();
    private static final long PACE_WINDOW = Duration.ofSeconds(5).toNanos();
    private final PrintWriter out;
    private final long steps;
    private final boolean terminal;
    private final LongSupplier clock;
    /** MFU of one token per second; 0 where no peak is known. */
    private final double utilisation;
    private final long interval;
    private final Pace pace = new Pace(PACE_WINDOW);
    private long shown;
    private boolean dirty;
    private long paused;
    private long pausedAt;

    /**
     * @param steps steps of the whole run
     * @param utilisation share of the machine's peak that one token per second is, or 0
     */
    Progress(PrintWriter out, long steps, double utilisation) {
        this(out, steps, utilisation, System.console() != null && System.console().isTerminal(), System::nanoTime);
    }

    /** @param clock nanoseconds, from any beginning */
    Progress(PrintWriter out, long steps, double utilisation, boolean terminal, LongSupplier clock) {
        this.utilisation = utilisation;
        this.out = out;
        this.steps = steps;
        this.terminal = terminal;
        this.clock = clock;
        interval = terminal ? TERMINAL_INTERVAL : LOG_INTERVAL;
        shown = clock.getAsLong() - interval;
    }

    synchronized void step(Trainer.Outcome outcome) {
        long now = clock.getAsLong();
        pace.step(now - paused, outcome.tokens());
        if (now - shown < interval && outcome.step() < steps) {
            return;
        }
        shown = now;
        String line = line(outcome);
        if (terminal) {
            out.print("\r\u001b[K" + line);
            dirty = true;
        } else {
            out.println(line);
        }
        out.flush();
    }

    /** Rate and time left are those of the last seconds, and not shown where there is nothing yet to go by. */
    private String line(Trainer.Outcome o) {
        StringBuilder line = new StringBuilder("%d/%d  loss %.4f  gradient %.3g  lr %.2e".formatted(o.step(), steps,
                o.loss(), o.gradientNorm(), o.learningRate()));
        pace.tokensPerSecond().ifPresent(rate -> line.append("  %,.0f tokens/s".formatted(rate))
                .append(utilisation > 0 ? "  MFU %.3f".formatted(rate * utilisation) : ""));
        if (o.step() < steps) {
            pace.secondsLeft(steps - o.step()).ifPresent(left -> line.append("  %s left".formatted(time(left))));
        }
        return line.toString();
    }

    /** The time until {@link #resume} is not training time. */
    void pause() {
        pausedAt = clock.getAsLong();
    }

    void resume() {
        paused += clock.getAsLong() - pausedAt;
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

    private static String time(double exact) {
        long seconds = Math.round(exact);
        return seconds < 3600 ? "%d:%02d".formatted(seconds / 60, seconds % 60)
                : "%d:%02d:%02d".formatted(seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
}
