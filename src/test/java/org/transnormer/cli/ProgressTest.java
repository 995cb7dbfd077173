package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.transnormer.train.Trainer;

/** Lines of a run of 100 steps of 1,000 tokens: one a second after a first of a minute. */
class ProgressTest {
    private final StringWriter text = new StringWriter();
    private long seconds = 7;
    private final Progress progress = new Progress(new PrintWriter(text), 100, 0, false, () -> seconds * 1_000_000_000);

    @Test
    void estimatesComeWhenThereIsSomethingToGoBy() {
        steps(61, 100);
        List<String> lines = text.toString().lines().toList();
        assertThat(lines.get(0)).isEqualTo("61/100  loss 2.5000  gradient 0.500  lr 1.00e-03");
        assertThat(lines.get(1))
                .isEqualTo("66/100  loss 2.5000  gradient 0.500  lr 1.00e-03  1,000 tokens/s  0:34 left");
        assertThat(lines.getLast()).startsWith("100/100  ").endsWith("  1,000 tokens/s");
    }

    @Test
    void theShareOfThePeakStandsBehindTheRate() {
        StringWriter lines = new StringWriter();
        Progress used = new Progress(new PrintWriter(lines), 100, 4e-4, false, () -> seconds * 1_000_000_000);
        for (int step = 1; step <= 20; step++) {
            seconds++;
            used.step(new Trainer.Outcome(step, 2.5, 0.5, 1e-3, 1000));
        }
        assertThat(lines.toString().lines().toList().getLast()).contains("  1,000 tokens/s  MFU 0.400  ");
    }

    @Test
    void evaluationsAreNotTraining() {
        steps(1, 5);
        progress.pause();
        seconds += 1000;
        progress.resume();
        steps(6, 6);
        assertThat(text.toString().lines().toList().getLast()).endsWith("1,000 tokens/s  1:34 left");
    }

    private void steps(int first, int last) {
        for (int step = first; step <= last; step++) {
            seconds += step == first && text.toString().isEmpty() ? 60 : 1;
            progress.step(new Trainer.Outcome(step, 2.5, 0.5, 1e-3, 1000));
        }
    }
}
