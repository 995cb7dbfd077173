package org.transnormer.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.PlanBackend;
import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Preset;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Collective;
import org.transnormer.parallel.Collective.Kind;
import org.transnormer.parallel.InProcess;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.parallel.Observed;
import org.transnormer.train.TrainingRun;

/** What a planned step exchanges is what one exchanges that is made, and what SPEC 7.2 and 7.3 say. */
class PlannedCollectivesTest {
    private static final ModelConfig CONFIG = Preset.TINY.config(60, 0, 1, 2);
    private static final int ROWS = 4;
    private static final long LENGTH = 24;
    private static final PlannedText TEXT = new PlannedText(LENGTH);

    static Stream<Setup> setups() {
        List<Setup> setups = new ArrayList<>();
        int number = 0;
        for (Layout layout : List.of(new Layout(1, 2), new Layout(1, 4), new Layout(2, 1), new Layout(2, 2),
                new Layout(4, 1),
                new Layout(1, 2, 1), new Layout(1, 3, 1), new Layout(2, 2, 1), new Layout(1, 2, 2))) {
            for (DataParallel.Mode mode : DataParallel.Mode.values()) {
                if (layout.readers() > 1 || mode == DataParallel.Mode.REPLICATED) {
                    setups.add(setup(layout, mode, Recompute.values()[number++ % 4], 1 + number % 3));
                }
            }
        }
        return setups.stream();
    }

    private static Setup setup(Layout layout, DataParallel.Mode mode, Recompute recompute, int microBatches) {
        return new Setup(CONFIG, Precision.F32, layout, mode, recompute, ROWS, LENGTH, microBatches);
    }

    /** Everything that an observer sees, in its order. */
    private static final class Seen implements Observed.Observer {
        private final List<Object> calls = new ArrayList<>();

        @Override
        public void called(Collective collective) {
            calls.add(collective);
        }

        @Override
        public void collectivesAwaitCompute(String group) {
            calls.add("await compute " + group);
        }

        @Override
        public void computeAwaitsCollectives(String group, int last) {
            calls.add("await collectives " + group + " but " + last);
        }
    }

    @ParameterizedTest
    @MethodSource("setups")
    void areThoseOfAStepThatIsMade(Setup setup) {
        Layout layout = setup.layout();
        List<Seen> made = IntStream.range(0, layout.size()).mapToObj(_ -> new Seen()).toList();
        InProcess.run(layout.size(), Duration.ofSeconds(60), world -> {
            Mesh mesh = Mesh.of(layout, world);
            Seen seen = made.get(world.rank());
            try (Backend backend = BackendKind.VECTOR.open(Precision.F32, 1)) {
                TrainingRun run = Planner.run(setup, backend, new Mesh(layout, world,
                        Observed.of(mesh.data(), "data", seen), Observed.of(mesh.sequence(), "sequence", seen),
                        Observed.of(mesh.tensor(), "tensor", seen)), TEXT);
                run.trainer().next();
            }
        });
        for (int rank = 0; rank < layout.size(); rank++) {
            Seen planned = new Seen();
            try (PlanBackend backend = new PlanBackend(Precision.F32, false, 0, PlanBackend.Calls.NONE)) {
                Planner.run(setup, backend, Mesh.planned(layout, rank, planned), TEXT).trainer().next();
            }
            assertThat(planned.calls).as("rank %d", rank).isNotEmpty().isEqualTo(made.get(rank).calls);
        }
    }

    /** Bytes by way, of both counts. */
    @ParameterizedTest
    @MethodSource("setups")
    void ofMoreMicroBatchesAreCountedFromThree(Setup some) {
        Planner planner = new Planner(Accelerator.of("h100"));
        Setup setup = some.withMicroBatches(6);
        Sums made = planner.made(setup, 0);
        Sums counted = planner.step(setup, 0);
        assertThat(counted.traffic().keySet()).isEqualTo(made.traffic().keySet());
        counted.traffic().forEach((way, t) -> {
            assertThat(t.payload()).as("%s", way).isEqualTo(made.traffic().get(way).payload());
            assertThat(t.calls()).as("%s", way).isEqualTo(made.traffic().get(way).calls());
        });
        assertThat(counted.productFlops()).isCloseTo(made.productFlops(), withinPercentage(1e-6));
        assertThat(counted.nanos()).isCloseTo(made.nanos(), withinPercentage(0.5));
        assertThat(counted.terms().values().stream().mapToDouble(t -> t).sum()).isCloseTo(counted.nanos(),
                withinPercentage(1e-6));
    }

    /** SPEC 7.2: elements per layer and token, of the head and of the embedding. */
    @Test
    void tensorGroupsExchangeWhatTheSpecificationSays() {
        double d = CONFIG.width();
        double layers = CONFIG.layers();
        double tokens = ROWS * LENGTH;
        for (int micro = 1; micro <= 3; micro++) {
            double payload = step(new Layout(1, 4), DataParallel.Mode.REPLICATED, micro).entrySet().stream()
                    .filter(e -> e.getKey().kind() == Kind.ALL_REDUCE).mapToDouble(e -> e.getValue().payload()).sum();
            double perToken = 2 * layers * (2 * d + 1) + 3 + d + d;
            assertThat(payload).isEqualTo(Float.BYTES * tokens * micro * perToken + Double.BYTES);
        }
    }

    /** SPEC 7.3: the table of bytes, P and S as the groups have them. */
    @Test
    void dataGroupsExchangeWhatTheSpecificationSays() {
        double ranks = 4;
        double f = (ranks - 1) / ranks;
        double layers = CONFIG.layers();
        double d = CONFIG.width();
        double s = 5 * d * d + 3 * d * CONFIG.gluWidth();
        double p = layers * s + d * CONFIG.paddedVocabulary() + d;
        double a = Float.BYTES;
        double w = Float.BYTES;
        Layout layout = new Layout(4, 1);
        for (int micro = 1; micro <= 3; micro++) {
            assertThat(sent(step(layout, DataParallel.Mode.REPLICATED, micro))).isEqualTo(2 * f * a * p);
            Map<Sums.Way, Sums.Traffic> zero1 = step(layout, DataParallel.Mode.ZERO1, micro);
            assertThat(sent(zero1)).isEqualTo(f * (a + w) * p);
            assertThat(zero1.get(new Sums.Way(Kind.REDUCE_SCATTER, "data", true)).payload()).isEqualTo(a * p);
            assertThat(zero1.get(new Sums.Way(Kind.ALL_GATHER, "data", true)).payload()).isEqualTo(w * p);
            assertThat(sent(step(layout, DataParallel.Mode.FULLY_SHARDED, micro))).isEqualTo(
                    f * (w * s * (layers + (2 * micro - 1) * (layers - 2)) + a * s * layers * micro
                            + (a + w) * (p - layers * s)));
        }
    }

    /** A state of each row and layer goes to the part behind, its gradient to the part before, whatever the length. */
    @Test
    void sequenceGroupsPassStates() {
        double state = (double) CONFIG.headDim() * CONFIG.hidden() * Float.BYTES * ROWS;
        Map<Sums.Way, Sums.Traffic> first = step(new Layout(1, 2, 1), DataParallel.Mode.REPLICATED, 1);
        for (Kind kind : List.of(Kind.SEND, Kind.RECEIVE)) {
            // the first layer has LRPE: twice the channels of k
            assertThat(first.get(new Sums.Way(kind, "sequence", true)).payload()).isEqualTo(
                    (CONFIG.layers() + 1) * state);
        }
    }

    private static Map<Sums.Way, Sums.Traffic> step(Layout layout, DataParallel.Mode mode, int microBatches) {
        return new Planner(Accelerator.of("a100")).step(setup(layout, mode, Recompute.NONE, microBatches), 0)
                .traffic();
    }

    private static double sent(Map<Sums.Way, Sums.Traffic> traffic) {
        return traffic.entrySet().stream().filter(e -> e.getKey().beside()).mapToDouble(e -> e.getValue().sent()).sum();
    }
}
