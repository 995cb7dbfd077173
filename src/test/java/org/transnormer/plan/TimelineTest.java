package org.transnormer.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import org.junit.jupiter.api.Test;
import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel;
import org.transnormer.model.Preset;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Collective;
import org.transnormer.parallel.Collective.Kind;
import org.transnormer.parallel.Layout;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/** What waits for what, and what goes over which wire. */
class TimelineTest {
    private static final Accelerator H200 = Accelerator.of("h200");
    private static final long GIB = 1L << 30;
    /** A copy of nothing, ns. */
    private static final double LAUNCH = 2000;

    /** Copies of some bytes, a collective between two of them. */
    private static Sums step(long before, long during, boolean beside, long exchanged) {
        Timeline timeline = new Timeline(new LeafTimes(H200), new Links(H200, new Layout(2, 1), 0));
        copy(timeline, before);
        timeline.collectivesAwaitCompute("data");
        timeline.called(new Collective(Kind.ALL_REDUCE, "data", 2, beside, exchanged));
        copy(timeline, during);
        timeline.computeAwaitsCollectives("data", 0);
        copy(timeline, before);
        return timeline.sums();
    }

    private static void copy(Timeline timeline, long bytes) {
        Tensor x = Tensor.of("x", DType.F32, new Storage.Planned(bytes), 0, bytes / 4);
        timeline.called("Backend", "copy", new Object[] {x, x});
    }

    @Test
    void whatRunsBesideIsHiddenAsFarAsThereIsComputation() {
        double exchange = new Links(H200, new Layout(2, 1), 0).nanos(
                new Collective(Kind.ALL_REDUCE, "data", 2, true, GIB));
        double around = step(GIB, 0, false, GIB).terms().get(Term.PASSES);
        for (long during : new long[] {0, GIB, 64 * GIB}) {
            Sums sums = step(GIB, during, true, GIB);
            double beside = sums.terms().get(Term.PASSES) - around + LAUNCH;
            double exposed = Math.max(0, exchange - beside);
            assertThat(sums.terms().get(Term.EXPOSED)).isEqualTo(exposed, within(1.0));
            assertThat(sums.hidden()).isEqualTo(exchange - exposed, within(1.0));
            assertThat(sums.nanos()).isEqualTo(sums.terms().get(Term.PASSES) + exposed, within(1.0));
        }
    }

    @Test
    void whatIsInOrderIsNotHidden() {
        Sums sums = step(GIB, 64 * GIB, false, GIB);
        assertThat(sums.hidden()).isZero();
        assertThat(sums.terms().values().stream().mapToDouble(t -> t).sum()).isEqualTo(sums.nanos(), within(1.0));
    }

    /** The last of four parts waits for the first attention of three, and as many messages, in each direction. */
    @Test
    void partsOfASequenceWaitForTheFirstAttentionOnly() {
        Links links = new Links(H200, new Layout(1, 4, 1), 1);
        Timeline timeline = new Timeline(new LeafTimes(H200), links);
        Collective message = new Collective(Kind.SEND, "sequence", 4, true, 1 << 20);
        Tensor x = Tensor.of("x", DType.F32, new Storage.Planned(GIB), 0, GIB / 4);
        for (int layer = 0; layer < 5; layer++) {
            timeline.called("Lrpe", "forward", new Object[] {x});
            timeline.called("Lrpe", "backward", new Object[] {x, x});
            timeline.called(message);
        }
        Sums before = timeline.sums();
        timeline.waitForParts(4, 2);
        double attention = before.terms().get(Term.ATTENTION) / 5;
        assertThat(timeline.sums().nanos() - before.nanos()).isEqualTo(
                3 * 2 * (attention + 2 * links.nanos(message)), within(1.0));
        timeline.waitForParts(1, 2);
        assertThat(timeline.sums().nanos()).isEqualTo(before.nanos() + 6 * (attention + 2 * links.nanos(message)),
                within(1.0));
    }

    /** Parts of the same length, twice as many of them: two more first attentions to wait for. */
    @Test
    void aStepWaitsForParts() {
        Planner planner = new Planner(H200);
        Sums two = parts(planner, 2);
        Sums four = parts(planner, 4);
        double layers = Preset.NANO.config(512, 0, 1, 2).layers();
        assertThat(four.terms().get(Term.ATTENTION)).isCloseTo(two.terms().get(Term.ATTENTION), withinPercentage(1));
        assertThat(four.terms().get(Term.EXPOSED) - two.terms().get(Term.EXPOSED))
                .isGreaterThan(2 * two.terms().get(Term.ATTENTION) / layers);
    }

    private static Sums parts(Planner planner, int count) {
        return planner.step(new Setup(Preset.NANO.config(512, 0, 1, 2), Precision.BF16, new Layout(1, count, 1),
                DataParallel.Mode.ZERO1, Recompute.NONE, 1, count * (1L << 19), 1), 0);
    }

    /** PyTorch by NCCL between two H200: bus bandwidth of all-reduces. */
    @Test
    void allReducesBetweenTwoH200() {
        Links links = new Links(H200, new Layout(1, 2), 0);
        assertThat(GIB / links.nanos(new Collective(Kind.ALL_REDUCE, "tensor", 2, false, GIB)))
                .isCloseTo(330, withinPercentage(5));
        assertThat((16 << 20) / links.nanos(new Collective(Kind.ALL_REDUCE, "tensor", 2, false, 16 << 20)))
                .isCloseTo(222, withinPercentage(5));
    }

    @Test
    void bytesGoByNetworkWhereAGroupSpansMachines() {
        assertThat(network(new Layout(64, 8), "tensor", 8)).isZero();
        assertThat(network(new Layout(64, 8), "data", 64)).isEqualTo(GIB * 63 / 64.0);
        assertThat(network(new Layout(16, 32, 1), "data", 512)).isEqualTo(GIB * 511 / 512.0 / 8);
        assertThat(network(new Layout(32, 8, 2), "sequence", 8)).isEqualTo(GIB * 7 / 8.0 / 4);
        assertThat(network(new Layout(2, 16), "tensor", 16)).isEqualTo(GIB * 15 / 16.0 / 8);
        assertThat(network(new Layout(2, 4), "data", 2)).isZero();
    }

    private static double network(Layout layout, String group, int ranks) {
        return new Links(H200, layout, layout.size() - 1).overNetwork(
                new Collective(Kind.ALL_GATHER, group, ranks, true, GIB));
    }
}
