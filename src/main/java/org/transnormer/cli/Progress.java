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
    private final boolean terminal = System.console() != null && System.console().isTerminal();
    private final long first;
    private final long start = System.nanoTime();
    private long paused;
    private long pausedAt;
    private long shown;
    private long tokens;

    /** @param first steps that were done before */
    Progress(PrintWriter out, long steps, long first) {
        this.out = out;
        this.steps = steps;
        this.first = first;
    }

    void step(Trainer.Outcome outcome) {
        tokens += outcome.tokens();
        long now = System.nanoTime();
        boolean last = outcome.step() == steps;
        if (!last && now - shown < (terminal ? TERMINAL_INTERVAL : LOG_INTERVAL)) {
            return;
        }
        shown = now;
        double seconds = (now - start - paused) / 1e9;
        long left = Math.round(seconds / (outcome.step() - first) * (steps - outcome.step()));
        String line = "step %,d of %,d (%d %%)  loss %.4f  gradient %.2f  lr %.2e  %,.0f tokens/s  %s left".formatted(
                outcome.step(), steps, 100 * outcome.step() / steps, outcome.loss(), outcome.gradientNorm(),
                outcome.learningRate(), tokens / seconds, time(left));
        if (terminal) {
            out.print("\r\u001b[K" + line + (last ? System.lineSeparator() : ""));
        } else {
            out.println(line);
        }
        out.flush();
    }

    /** The time until {@link #resume} is not training time. */
    void pause() {
        pausedAt = System.nanoTime();
    }

    void resume() {
        paused += System.nanoTime() - pausedAt;
    }

    void note(String text) {
        out.println((terminal ? "\r\u001b[K" : "") + text);
        out.flush();
    }

    private static String time(long seconds) {
        return seconds < 3600 ? "%d:%02d".formatted(seconds / 60, seconds % 60)
                : "%d:%02d:%02d".formatted(seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
}
