package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.data.TokenDataset;
import org.transnormer.launch.Job;
import org.transnormer.model.ParameterGroup;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.SameBits;
import org.transnormer.tokenizer.ByteTokenizer;

/**
 * A run that was stopped, saved and restored into new objects is, bit for bit, the run that was never stopped: losses,
 * gradient norms, learning rates, weights, master weights and both moments.
 */
class ResumeTest {
    /** More than one epoch of {@link TinyRun}'s text, with the stop in the first one and warm-up not yet over. */
    private static final int STEPS = 6;
    private static final int STOP = 1;
    private static final int SECOND_STOP = 4;

    @TempDir
    Path temp;

    @Test
    void vectorF32() {
        resumedIsUninterrupted(BackendKind.VECTOR, DType.F32, TinyRun.ROWS, TinyRun.LENGTH);
    }

    @Test
    void vectorWithBf16Weights() {
        resumedIsUninterrupted(BackendKind.VECTOR, DType.BF16, TinyRun.ROWS, TinyRun.LENGTH);
    }

    @Test
    @Tag("gpu")
    void cudaF32() {
        resumedIsUninterrupted(BackendKind.CUDA, DType.F32, TinyRun.ROWS, TinyRun.LENGTH);
    }

    @Test
    @Tag("gpu")
    void cudaBf16() {
        resumedIsUninterrupted(BackendKind.CUDA, DType.BF16, TinyRun.ROWS, TinyRun.LENGTH);
    }

    @Test
    void scalarF64() {
        resumedIsUninterrupted(BackendKind.SCALAR, DType.F64, 1, 16);
    }

    private void resumedIsUninterrupted(BackendKind backend, DType dtype, int rows, long length) {
        TrainSettings settings = TinyRun.settings(rows, length, STEPS, 2);
        List<String> whole = new ArrayList<>();
        List<String> expected = part(backend, dtype, settings, null, 0, STEPS, null, whole);

        TokenDataset.Split data = TinyRun.data();
        RunFolder folder = RunFolder.create(temp.resolve("run"), new RunFolder.Description("test", settings,
                TinyRun.config(), backend, dtype, data.train().digest(), data.heldOut().digest()),
                new RunFolder.Ranks(0, "alone", "none"));
        List<String> steps = new ArrayList<>();
        part(backend, dtype, settings, null, 0, STOP, folder, steps);
        part(backend, dtype, RunFolder.open(folder.path()).description().settings(), RunFolder.open(folder.path()),
                STOP, SECOND_STOP, folder, steps);
        RunFolder reopened = RunFolder.open(folder.path());
        List<String> got = part(backend, dtype, reopened.description().settings(), reopened, SECOND_STOP, STEPS, null,
                steps);

        assertThat(steps).isEqualTo(whole);
        assertThat(got).isEqualTo(expected);
    }

    /**
     * Runs from one step to another on a backend of its own.
     *
     * @param from where it is restored from, or null: it starts
     * @param to where it is saved, or null
     * @param outcomes gets the steps' outcomes
     * @return checksums of everything that the optimizer changes
     */
    private static List<String> part(BackendKind kind, DType dtype, TrainSettings settings, RunFolder from, int first,
            int last, RunFolder to, List<String> outcomes) {
        Precision precision = kind.precision(dtype);
        try (Backend backend = kind.open(precision, 2)) {
            TrainingRun run = TinyRun.start(backend, settings, TinyRun.data());
            if (from != null) {
                spoil(run);
                from.restore(Job.alone(), run);
            }
            assertThat(run.trainer().step()).isEqualTo(first);
            while (run.trainer().step() < last) {
                outcomes.add(run.trainer().next().toString());
            }
            if (to != null) {
                to.save(Job.alone(), run, precision, new ByteTokenizer());
            }
            return checksums(run);
        }
    }

    /** What a checkpoint does not bring back shows; the padding of the vocabulary is zero in any run. */
    private static void spoil(TrainingRun run) {
        for (Optimizer.State s : run.optimizer().states()) {
            s.group().parameters().forEach(p -> List.of(s.group().value(), s.master(), s.m(), s.v())
                    .forEach(t -> spoil(p.exported(t))));
        }
    }

    private static void spoil(Tensor t) {
        try (Arena arena = Arena.ofConfined()) {
            Tensor nothing = Tensor.allocate(arena, t.name(), t.dtype(), t.shape());
            nothing.fill(Double.NaN);
            t.copyFrom(nothing);
        }
    }

    private static List<String> checksums(TrainingRun run) {
        List<String> sums = new ArrayList<>();
        for (Optimizer.State s : run.optimizer().states()) {
            ParameterGroup group = s.group();
            for (Tensor t : List.of(group.value(), s.master(), s.m(), s.v())) {
                sums.add(group.name() + " " + SameBits.checksum(t));
            }
        }
        return sums;
    }
}
