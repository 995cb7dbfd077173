package org.transnormer.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
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
        Timeline timeline = new Timeline(new LeafTimes(H200), new Links(H200, false, new Layout(2, 1), 0));
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
        double exchange = new Links(H200, false, new Layout(2, 1), 0).nanos(
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

    /** A BF16 product on Hopper stands still while a collective runs, for no longer than it takes alone. */
    @Test
    void productsWaitForMultiprocessorsThatCollectivesHave() {
        Links links = new Links(H200, false, new Layout(2, 2), 0);
        Collective exchange = new Collective(Kind.ALL_REDUCE, "data", 2, true, 16 << 20);
        double exchanged = links.nanos(exchange);
        double alone = product(H200, DType.BF16, links).nanos();
        double product = product(H200, DType.BF16, links).terms().get(Term.PRODUCTS) / 2;
        assertThat(product).isBetween(2.5 * exchanged, 4 * exchanged);
        assertThat(product(H200, DType.BF16, links, exchange).nanos()).isEqualTo(alone + exchanged, within(1.0));
        assertThat(product(H200, DType.BF16, links, exchange).hidden()).isEqualTo(0, within(1.0));
        assertThat(product(H200, DType.BF16, links, exchange, exchange).nanos())
                .isEqualTo(alone + 2 * exchanged, within(1.0));
        assertThat(product(H200, DType.BF16, links, exchange,
                new Collective(Kind.ALL_REDUCE, "tensor", 2, true, 16 << 20)).nanos())
                .isEqualTo(alone + exchanged, within(1.0));
        assertThat(product(H200, DType.BF16, links, exchange, exchange, exchange, exchange, exchange).nanos())
                .isEqualTo(alone + product, within(1.0));
        double f32 = product(H200, DType.F32, links).nanos();
        assertThat(product(H200, DType.F32, links, exchange).nanos()).isEqualTo(f32, within(1.0));
        Accelerator a100 = Accelerator.of("a100");
        assertThat(product(a100, DType.BF16, links, exchange).nanos())
                .isEqualTo(product(a100, DType.BF16, links).nanos(), within(1.0));
    }

    /** A sum of two ranks by copies makes a product beside it slower; adding is up to who awaits it. */
    @Test
    void productsGoOnBesideCopies() {
        Links links = new Links(H200, true, new Layout(2, 2), 0);
        Collective sum = new Collective(Kind.ALL_REDUCE, "data", 2, true, 16 << 20);
        assertThat(links.stages(sum)).extracting(Links.Stage::standstill).containsExactly(52.0 / 182);
        double slower = links.nanos(sum) * 52 / 182;
        double alone = product(H200, DType.BF16, links).nanos();
        assertThat(product(H200, DType.BF16, links, sum).nanos()).isEqualTo(alone + slower, within(1.0));
        assertThat(product(H200, DType.BF16, links, sum).hidden()).isEqualTo(links.nanos(sum) - slower, within(1.0));
        // One that ends while the copy still goes on: what it takes longer is of its own time alone.
        Collective large = new Collective(Kind.ALL_REDUCE, "data", 2, true, 1 << 30);
        double product = product(H200, DType.BF16, links).terms().get(Term.PRODUCTS) / 2;
        assertThat(links.nanos(large)).isGreaterThan(2 * product);
        assertThat(product(H200, DType.BF16, links, large).terms().get(Term.EXPOSED))
                .isBetween(product * 52 / 130, 2 * product * 52 / 130 + 1);
    }

    /** It reads two and writes one, once for each sum, whoever else is awaited later. */
    @Test
    void whoAwaitsTwoRanksSumsAddsThem() {
        Links links = new Links(H200, true, new Layout(1, 2), 0);
        Timeline timeline = new Timeline(new LeafTimes(H200), links);
        Collective sum = new Collective(Kind.ALL_REDUCE, "tensor", 2, true, 32 << 20);
        double addition = 2e3 + 3.0 * (32 << 20) / H200.copy() * 1e9;
        timeline.called(sum);
        timeline.called(sum);
        assertThat(timeline.sums().terms().get(Term.PASSES)).isZero();
        timeline.computeAwaitsCollectives("tensor", 1);
        assertThat(timeline.sums().terms().get(Term.PASSES)).isEqualTo(addition, within(1.0));
        timeline.computeAwaitsCollectives("tensor", 0);
        timeline.computeAwaitsCollectives("tensor", 0);
        assertThat(timeline.sums().terms().get(Term.PASSES)).isEqualTo(2 * addition, within(1.0));
        assertThat(new Links(H200, false, new Layout(1, 2), 0).addition(sum)).isZero();
    }

    /** Of three and more ranks one adds each slice beside the computation, and stands in a product's way meanwhile. */
    @Test
    void moreRanksSumSlices() {
        Links links = new Links(H200, true, new Layout(1, 4), 0);
        Collective sum = new Collective(Kind.ALL_REDUCE, "tensor", 4, true, 16 << 20);
        assertThat(links.stages(sum)).extracting(Links.Stage::standstill).containsExactly(52.0 / 182, 1.0, 52.0 / 182);
        assertThat(links.addition(sum)).isZero();
    }

    /** Copies of 4 to 64 MiB, both ways at once, µs. */
    @ParameterizedTest
    @CsvSource({"4, 19.7", "16, 53", "32, 97", "64, 182"})
    void copiesBetweenTwoH200(long mebibytes, double micros) {
        Links.Stage copy = new Links(H200, true, new Layout(1, 2), 0).stages(
                new Collective(Kind.ALL_REDUCE, "tensor", 2, true, mebibytes << 20)).getFirst();
        assertThat(copy.nanos() / 1e3 - 2.6).isCloseTo(micros, withinPercentage(6));
    }

    /** Small sums, what is in order with the computation, other collectives, and groups of several machines. */
    @Test
    void theRestGoesByNccl() {
        Layout layout = new Layout(2, 8);
        Links links = new Links(H200, true, layout, 0);
        Links nccl = new Links(H200, false, layout, 0);
        for (Collective c : List.of(new Collective(Kind.ALL_REDUCE, "tensor", 8, true, (1 << 20) - 1),
                new Collective(Kind.ALL_REDUCE, "tensor", 8, false, 1 << 24),
                new Collective(Kind.ALL_GATHER, "tensor", 8, true, 1 << 24),
                new Collective(Kind.ALL_REDUCE, "data", 2, true, 1 << 24))) {
            assertThat(links.stages(c)).isEqualTo(nccl.stages(c)).hasSize(1);
        }
        assertThat(links.stages(new Collective(Kind.ALL_REDUCE, "tensor", 8, true, 1 << 20))).hasSize(3);
    }

    /** A product beside some collectives, and another one after them. */
    private static Sums product(Accelerator device, DType dtype, Links links, Collective... exchanges) {
        Timeline timeline = new Timeline(new LeafTimes(device), links);
        copy(timeline, GIB);
        for (Collective exchange : exchanges) {
            timeline.collectivesAwaitCompute(exchange.group());
            timeline.called(exchange);
        }
        multiply(timeline, dtype);
        copy(timeline, GIB);
        multiply(timeline, dtype);
        return timeline.sums();
    }

    private static void multiply(Timeline timeline, DType dtype) {
        Tensor x = matrix(dtype, 16_384);
        timeline.called("Linear", "forward", new Object[] {x, matrix(dtype, 2048), matrix(dtype, 16_384)});
    }

    private static Tensor matrix(DType dtype, long rows) {
        long bytes = rows * 2048 * dtype.bytes();
        return Tensor.of("x", dtype, new Storage.Planned(bytes), 0, rows, 2048);
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
        Links links = new Links(H200, false, new Layout(1, 4, 1), 1);
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

    /** Milliseconds of 16, 256 and 1,024 MiB by NCCL between two H200. */
    @ParameterizedTest
    @CsvSource({"ALL_REDUCE, 0.074, 0.892, 3.253", "ALL_GATHER, 0.050, 0.523, 1.828",
        "REDUCE_SCATTER, 0.049, 0.555, 1.927"})
    void collectivesBetweenTwoH200(Kind kind, double small, double medium, double large) {
        assertThat(millis(kind, 16)).isCloseTo(small, withinPercentage(8));
        assertThat(millis(kind, 256)).isCloseTo(medium, withinPercentage(12));
        assertThat(millis(kind, 1024)).isCloseTo(large, withinPercentage(2));
    }

    private static double millis(Kind kind, long mebibytes) {
        return new Links(H200, false, new Layout(1, 2), 0).nanos(
                new Collective(kind, "tensor", 2, false, mebibytes << 20)) / 1e6;
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
        return new Links(H200, false, layout, layout.size() - 1).overNetwork(
                new Collective(Kind.ALL_GATHER, group, ranks, true, GIB));
    }
}
