package org.transnormer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.transnormer.backend.Backend;
import org.transnormer.inference.Generator;
import org.transnormer.inference.RobustInference;
import org.transnormer.inference.Sampler;
import org.transnormer.inference.SamplerConfig;
import org.transnormer.launch.Job;
import org.transnormer.launch.Phase;
import org.transnormer.model.TransNormer;
import org.transnormer.parallel.Mesh;
import org.transnormer.tokenizer.Tokenizer;
import org.transnormer.train.Evaluation;
import org.transnormer.train.MetricsLog;
import org.transnormer.train.RunFolder;
import org.transnormer.train.TrainSettings;
import org.transnormer.train.Trainer;
import org.transnormer.train.TrainingRun;

/**
 * Steps, evaluations and checkpoints until the run is done or is asked to stop: Ctrl-C and SIGTERM finish the step at
 * hand, save, and exit with 130 or 143, the status that Java gives a process ended by a signal. All ranks of a job do the
 * same in the same order; rank 0 keeps the log.
 */
final class TrainingLoop {
    private static final long SAVE_SECONDS = 120;
    private static final int SAMPLE_TOKENS = 200;
    private final Job job;
    private final Mesh mesh;
    private final TrainingRun run;
    private final RunFolder folder;
    private final Backend backend;
    private final Tokenizer tokenizer;
    private final PrintWriter out;
    private final Progress progress;
    private final CountDownLatch saved = new CountDownLatch(1);

    TrainingLoop(Job job, Mesh mesh, TrainingRun run, RunFolder folder, Backend backend, Tokenizer tokenizer,
            PrintWriter out) {
        this.job = job;
        this.mesh = mesh;
        this.run = run;
        this.folder = folder;
        this.backend = backend;
        this.tokenizer = tokenizer;
        this.out = out;
        double flops = run.model().config().trainingFlops();
        this.progress = new Progress(out, folder.description().settings().steps(),
                backend.peakFlops().stream().map(peak -> flops / (peak * job.size())).findFirst().orElse(0));
    }

    /**
     * Runs to the end, or to where it is asked to stop; what is there is saved then.
     *
     * @return whether it came to the end
     * @throws org.transnormer.EnvironmentException if the loss is no number any more, or the disk is full
     */
    boolean run() throws IOException {
        Thread onSignal = new Thread(this::awaitSave, "tnl-stop");
        Runtime.getRuntime().addShutdownHook(onSignal);
        boolean done;
        try (MetricsLog metrics = job.rank() == 0 ? folder.metrics(run.trainer().step()) : null) {
            train(metrics);
            finish();
            done = isDone();
            if (!done) {
                // The process may end as soon as the hook does: not before the other ranks have saved.
                job.close();
            }
        } finally {
            saved.countDown();
            forget(onSignal);
        }
        if (done) {
            sample();
        }
        return done;
    }

    private boolean isDone() {
        return run.trainer().step() == folder.description().settings().steps();
    }

    private void train(MetricsLog metrics) throws IOException {
        TrainSettings settings = folder.description().settings();
        Trainer trainer = run.trainer();
        long safe = trainer.step();
        boolean first = true;
        while (trainer.step() < settings.steps() && job.mayStep(trainer.step() + 1)) {
            if (first) {
                job.phase(Phase.FIRST_STEP);
            } else {
                job.step(trainer.step() + 1);
            }
            first = false;
            Trainer.Outcome outcome = trainer.next();
            write(metrics, MetricsLog.line(outcome.step()).put(MetricsLog.LOSS, outcome.loss())
                    .put(MetricsLog.GRADIENT_NORM, outcome.gradientNorm())
                    .put(MetricsLog.LEARNING_RATE, outcome.learningRate()).put("tokens", outcome.tokens()));
            progress.step(outcome);
            progress.pause();
            // Evaluated even when asked to stop: the log must not lack a line that an undisturbed run's has.
            if (outcome.step() == settings.steps() || due(outcome.step(), settings.evaluateEvery())) {
                evaluate(metrics, outcome.step());
            }
            if (due(outcome.step(), settings.checkpointEvery())) {
                save();
                safe = outcome.step();
            }
            progress.resume();
        }
        if (trainer.step() > safe) {
            save();
        }
    }

    private static void write(MetricsLog metrics, ObjectNode line) {
        if (metrics != null) {
            metrics.write(line);
        }
    }

    private void save() {
        job.phase(Phase.SAVING);
        folder.save(job, run, backend.precision(), tokenizer);
    }

    private void finish() throws IOException {
        long step = run.trainer().step();
        job.phase(Phase.SAVING);
        if (!isDone()) {
            if (job.rank() == 0) {
                folder.plot();
            }
            progress.note("stopped after step %d; go on with: tnl train --resume %s".formatted(step, folder.path()));
            return;
        }
        folder.saveModel(job, run, backend.precision(), tokenizer);
        if (job.rank() == 0) {
            progress.note("model: %s%nloss plot: %s".formatted(folder.model(), folder.plot()));
        }
    }

    private void evaluate(MetricsLog metrics, long step) throws IOException {
        job.phase(Phase.EVALUATING);
        Evaluation.Result result = run.evaluation().run();
        write(metrics, MetricsLog.line(step).put(MetricsLog.HELD_OUT_LOSS, result.nats()).put("bits_per_byte",
                result.bitsPerByte()));
        progress.note("step %d: held-out loss %.4f nats, perplexity %.2f, %.4f bits per byte".formatted(step,
                result.nats(), result.perplexity(), result.bitsPerByte()));
        if (!Double.isFinite(result.nats())) {
            throw Trainer.diverged("the held-out loss is %s after step %d".formatted(result.nats(), step));
        }
    }

    private void sample() {
        job.phase(Phase.EVALUATING);
        TransNormer model = new TransNormer(backend, mesh.tensor(), run.model().config(), run.weights(),
                TransNormer.Mode.INFERENCE, 1);
        SamplerConfig sampling = new SamplerConfig(0.7, 0, 0.95, 1, 0, folder.description().settings().seed());
        Generator generator = new Generator(new RobustInference(backend, model, 1), tokenizer,
                new Sampler(sampling, tokenizer.vocabularySize()));
        out.println("sample:");
        generator.generate("", (int) Math.min(SAMPLE_TOKENS, model.config().maxSequence()), 0, text -> {
            out.print(text);
            out.flush();
        });
        out.println();
        out.flush();
    }

    private static boolean due(long step, long every) {
        return every > 0 && step % every == 0;
    }

    /** Runs when the process is told to stop: its exit waits until the step at hand is finished and saved. */
    private void awaitSave() {
        job.requestStop();
        progress.note("stopping as soon as the step at hand is saved");
        try {
            if (!saved.await(SAVE_SECONDS, TimeUnit.SECONDS)) {
                progress.note("the step at hand did not end in time; the last checkpoint stands");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void forget(Thread hook) {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The process is ending; the hook runs, or has run.
        }
    }
}
