package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.InputException;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.data.TokenDataset;
import org.transnormer.launch.Gathering;
import org.transnormer.launch.Job;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.Parameter;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.InProcess;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.tensor.DType;
import org.transnormer.testing.ThreadsGathering;
import org.transnormer.tokenizer.ByteTokenizer;

/** Runs whose ranks hold parts are stopped and go on: bit for bit in the same layout, to rounding in another one. */
class ReshardedRunTest {
    private static final Duration TIMEOUT = Duration.ofSeconds(120);
    /** As where nobody stops: SPEC section 7.2. */
    private static final double TRAINED = 1e-10;
    private static final TokenDataset.Split DATA = TinyRun.data();

    @TempDir
    Path temp;

    /**
     * Some steps of a run by some ranks, from its last checkpoint or its beginning to the next.
     *
     * @param last step of them
     */
    private record Leg(Layout layout, Mode mode, long last) {
    }

    private RunFolder folder(String name, TrainSettings settings, BackendKind kind, DType dtype) {
        return RunFolder.create(temp.resolve(name), new RunFolder.Description("test", settings, TinyRun.config(), kind,
                dtype, DATA.train().digest(), DATA.heldOut().digest()), new RunFolder.Ranks(0, "", ""));
    }

    /** What each step came to. */
    private static List<Trainer.Outcome> run(RunFolder folder, Leg... legs) {
        List<Trainer.Outcome> steps = new ArrayList<>();
        for (int i = 0; i < legs.length; i++) {
            Leg leg = legs[i];
            boolean begins = i == 0;
            if (leg.layout.size() == 1) {
                leg(folder, leg, begins, Mesh.single(), Job.alone(), steps);
            } else {
                InProcess.run(leg.layout.size(), TIMEOUT, world -> leg(folder, leg, begins,
                        Mesh.of(leg.layout, world), new ThreadsGathering(world), steps));
            }
        }
        return steps;
    }

    private static void leg(RunFolder folder, Leg leg, boolean begins, Mesh mesh, Gathering ranks,
            List<Trainer.Outcome> steps) {
        RunFolder.Description is = folder.description();
        Precision precision = is.backend().precision(is.dtype());
        try (Backend backend = is.backend().open(precision, 1)) {
            TrainingRun run = new TrainingRun(backend, mesh, leg.mode, is.config(), is.settings(), DATA.train(),
                    DATA.heldOut(), Recompute.NONE);
            if (begins) {
                run.weights().initialise(is.settings().seed());
                run.optimizer().adoptWeights();
            } else {
                folder.restore(ranks, run);
            }
            while (run.trainer().step() < leg.last) {
                Trainer.Outcome outcome = run.trainer().next();
                if (ranks.rank() == 0) {
                    steps.add(outcome);
                }
            }
            folder.save(ranks, run, precision, new ByteTokenizer());
            folder.saveModel(ranks, run, precision, new ByteTokenizer());
        }
    }

    private static Leg leg(int data, int sequence, int tensor, Mode mode, long last) {
        return new Leg(new Layout(data, sequence, tensor), mode, last);
    }

    @Test
    void inTheSameLayoutARunGoesOnBitForBit() throws IOException {
        TrainSettings settings = TinyRun.settings(2, 16, 3, 1);
        for (Leg end : List.of(leg(2, 1, 2, Mode.FULLY_SHARDED, 3), leg(1, 2, 1, Mode.ZERO1, 3))) {
            RunFolder whole = folder("whole " + end, settings, BackendKind.VECTOR, DType.BF16);
            RunFolder stopped = folder("stopped " + end, settings, BackendKind.VECTOR, DType.BF16);
            assertThat(run(stopped, new Leg(end.layout, end.mode, 1), end)).isEqualTo(run(whole, end));
            for (String name : List.of("checkpoints/step-00000003", "model")) {
                try (Stream<Path> files = Files.list(whole.path().resolve(name))) {
                    assertThat(files).isNotEmpty().allSatisfy(file -> assertThat(stopped.path().resolve(name)
                            .resolve(file.getFileName())).hasSameBinaryContentAs(file));
                }
            }
        }
    }

    /** In F64, whose weights a model folder does not hold exactly. */
    @Test
    void inOtherLayoutsARunGoesOnToRounding() {
        compare(TinyRun.settings(2, 6, 4, 1), leg(2, 1, 2, Mode.FULLY_SHARDED, 1), leg(1, 1, 1, Mode.REPLICATED, 2),
                leg(1, 2, 1, Mode.ZERO1, 3), leg(2, 1, 1, Mode.FULLY_SHARDED, 4));
    }

    private void compare(TrainSettings settings, Leg... legs) {
        RunFolder one = folder("one", settings, BackendKind.SCALAR, DType.F64);
        RunFolder several = folder("several", settings, BackendKind.SCALAR, DType.F64);
        List<Trainer.Outcome> want = run(one, leg(1, 1, 1, Mode.REPLICATED, settings.steps()));
        List<Trainer.Outcome> got = run(several, legs);
        assertThat(got).hasSameSizeAs(want);
        for (int i = 0; i < got.size(); i++) {
            assertThat(got.get(i).loss()).as("loss of step %d", i).isCloseTo(want.get(i).loss(),
                    within(TRAINED * want.get(i).loss()));
            assertThat(got.get(i).gradientNorm()).as("norm of step %d", i).isCloseTo(want.get(i).gradientNorm(),
                    within(TRAINED * want.get(i).gradientNorm()));
            assertThat(got.get(i).tokens()).isEqualTo(want.get(i).tokens());
        }
        Map<String, double[]> wanted = weights(one);
        weights(several).forEach((name, values) -> {
            double largest = 0;
            double worst = 0;
            for (int i = 0; i < values.length; i++) {
                largest = Math.max(largest, Math.abs(wanted.get(name)[i]));
                worst = Math.max(worst, Math.abs(values[i] - wanted.get(name)[i]));
            }
            assertThat(worst).as(name).isLessThanOrEqualTo(TRAINED * largest);
        });
    }

    /** As one rank restores them. */
    private static Map<String, double[]> weights(RunFolder folder) {
        Map<String, double[]> all = new LinkedHashMap<>();
        RunFolder.Description is = folder.description();
        try (Backend backend = is.backend().open(is.backend().precision(is.dtype()), 1)) {
            TrainingRun run = new TrainingRun(backend, is.config(), is.settings(), DATA.train(), DATA.heldOut(),
                    Recompute.NONE);
            folder.restore(Job.alone(), run);
            for (Parameter p : run.weights().parameters()) {
                double[] values = new double[(int) p.elements()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = p.value().getFlat(i);
                }
                all.put(p.name(), values);
            }
        }
        return all;
    }

    /** What does not hold what was written is named by all; moved away, the run goes on from the one before. */
    @Test
    void aDamagedCheckpointIsNotGoneOnFrom() throws IOException {
        RunFolder folder = folder("run", TinyRun.settings(2, 24, 3, 1), BackendKind.VECTOR, DType.F32);
        run(folder, leg(1, 1, 2, Mode.REPLICATED, 1), leg(2, 1, 1, Mode.ZERO1, 2));
        Path last = folder.path().resolve("checkpoints/step-00000002");
        Path weights = last.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        bytes[bytes.length - 1] ^= 1;
        Files.write(weights, bytes);
        assertThatThrownBy(() -> weights(folder)).isInstanceOf(InputException.class)
                .hasMessageStartingWith(weights + ": does not hold what was written into this checkpoint")
                .hasMessageEndingWith("; move the checkpoint away to resume from the one before");
        Files.move(last, temp.resolve("away"));
        assertThat(weights(folder)).isNotEmpty();
    }
}
