package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.data.TokenDataset;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.InProcess;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.srmsnorm.NormType;

/** A training run of several ranks is the run of one: what it logs, where its data stands, what evaluation gives. */
class RankedRunTest {
    private static final Duration TIMEOUT = Duration.ofSeconds(120);
    private static final TrainSettings SETTINGS = TinyRun.settings(4, 24, 3, 2);
    private static final TokenDataset.Split DATA = TinyRun.data();

    /** What is seen of a run. */
    private record Seen(List<Trainer.Outcome> steps, long position, Evaluation.Result heldOut) {
    }

    private static TrainingRun of(Backend backend, Mesh mesh, Mode mode, TrainSettings settings) {
        return new TrainingRun(backend, mesh, mode, TinyRun.config(), settings, DATA.train(), DATA.heldOut(),
                Recompute.GLU);
    }

    private static Seen run(Mesh mesh, Mode mode) {
        try (Backend backend = BackendKind.VECTOR.open(Precision.F32, 1)) {
            TrainingRun run = of(backend, mesh, mode, SETTINGS);
            run.weights().initialise(SETTINGS.seed());
            run.optimizer().adoptWeights();
            List<Trainer.Outcome> steps = new ArrayList<>();
            for (int step = 0; step < SETTINGS.steps(); step++) {
                steps.add(run.trainer().next());
            }
            return new Seen(steps, run.batches().position(), run.evaluation().run());
        }
    }

    @Test
    void allRanksReportTheWholeRun() {
        Seen want = run(Mesh.single(), Mode.REPLICATED);
        for (Layout layout : List.of(new Layout(2, 2), new Layout(4, 1), new Layout(2, 2, 1), new Layout(1, 4, 1))) {
            Mode mode = layout.tensor() == 2 ? Mode.REPLICATED : layout.data() == 4 ? Mode.ZERO1 : Mode.FULLY_SHARDED;
            Set<Seen> all = ConcurrentHashMap.newKeySet();
            InProcess.run(layout.size(), TIMEOUT, world -> all.add(run(Mesh.of(layout, world), mode)));
            assertThat(all).as("every rank says the same").hasSize(1);
            Seen got = all.iterator().next();
            assertThat(got.position).isEqualTo(want.position);
            assertThat(got.heldOut.targets()).isEqualTo(want.heldOut.targets());
            assertThat(got.heldOut.nats()).isCloseTo(want.heldOut.nats(), within(1e-5));
            for (int i = 0; i < want.steps.size(); i++) {
                Trainer.Outcome is = got.steps.get(i);
                Trainer.Outcome wanted = want.steps.get(i);
                assertThat(is.tokens()).isEqualTo(wanted.tokens()).isEqualTo(SETTINGS.tokensPerStep());
                assertThat(is.loss()).isCloseTo(wanted.loss(), within(1e-5));
                assertThat(is.gradientNorm()).isCloseTo(wanted.gradientNorm(), within(1e-4 * wanted.gradientNorm()));
            }
        }
    }

    /** Windows stand alone; where half of one fits, the other half goes on with its state and its positions. */
    @Test
    void windowsOfAbsolutePositionsAreEvaluatedInPieces() {
        Evaluation.Result want = ofPositions(Mesh.single());
        InProcess.run(2, TIMEOUT, world -> {
            Evaluation.Result got = ofPositions(Mesh.of(new Layout(1, 2, 1), world));
            assertThat(got.targets()).isEqualTo(want.targets());
            assertThat(got.nats()).isCloseTo(want.nats(), within(1e-12 * want.nats()));
        });
    }

    private static Evaluation.Result ofPositions(Mesh mesh) {
        ModelConfig config = new ModelConfig(TinyRun.config().vocabulary(), 16, 2, 2, 16, 8, NormType.SRMSNORM,
                ActivationFunction.SILU, ActivationFunction.IDENTITY, ModelConfig.Position.ABSOLUTE,
                (int) SETTINGS.length(), List.of(false, false), DecaySchedule.RELEASED, DecayTemperature.BY_LAYER,
                ModelConfig.Gate.LINEAR, true, false, true, 0.2, 0, 1, 2);
        try (Backend backend = BackendKind.SCALAR.open(Precision.F64, 1)) {
            TrainingRun run = new TrainingRun(backend, mesh, Mode.REPLICATED, config, SETTINGS, DATA.train(),
                    DATA.heldOut(), Recompute.NONE);
            run.weights().initialise(SETTINGS.seed());
            return run.evaluation().run();
        }
    }

    @Test
    void rowsThatHaveNoEqualPartsAreRefused() {
        try (Backend backend = BackendKind.VECTOR.plan(Precision.F32, 1)) {
            Mesh mesh = Mesh.planned(new Layout(1, 5, 1), 1);
            assertThatThrownBy(() -> of(backend, mesh, Mode.ZERO1, SETTINGS))
                    .isInstanceOf(IllegalArgumentException.class).hasMessage(
                            "--sequence 24 tokens cannot be cut into equal parts for 5 ranks: give a multiple of 5");
        }
    }

    @Test
    void rowsThatDoNotDivideAreRefused() {
        try (Backend backend = BackendKind.VECTOR.plan(Precision.F32, 1)) {
            Mesh mesh = Mesh.planned(new Layout(3, 1), 1);
            assertThatThrownBy(() -> of(backend, mesh, Mode.ZERO1, SETTINGS))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("--batch 4 rows cannot be shared by 3 ranks: give a multiple of 3");
        }
    }
}
