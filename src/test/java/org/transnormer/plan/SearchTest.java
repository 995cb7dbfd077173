package org.transnormer.plan;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Comparator;
import java.util.List;
import org.assertj.core.groups.Tuple;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Preset;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;

/** What is found by looking at some layouts is what looking at all of them finds. */
class SearchTest {
    private static final ModelConfig CONFIG = Preset.SMALL.config(1000, 0, 1, 2);
    private static final long LENGTH = 2048;
    private static final Comparator<Plan> FASTEST = Comparator.comparingDouble(Plan::seconds);

    /** From all that there is down to next to nothing. */
    @ParameterizedTest
    @ValueSource(longs = {6000, 3900, 3200, 2800, 2500})
    void theBestIsTheBestOfAll(long mebibytes) {
        Search search = search(mebibytes, asked(8, 1));
        List<Plan> best = search.best(3);
        List<Plan> fitting =
                search.everything().stream().filter(search::fits).map(search::plan).sorted(FASTEST).toList();
        assertThat(fitting).isNotEmpty();
        assertThat(best).isSortedAccordingTo(FASTEST).allMatch(Plan::fits);
        assertThat(best.getFirst().setup()).isIn(fitting.stream()
                .filter(plan -> plan.seconds() == fitting.getFirst().seconds()).map(Plan::setup).toList());
        assertThat(search(mebibytes, asked(8, 1)).best(3)).extracting(Plan::setup, Plan::seconds)
                .isEqualTo(best.stream().map(plan -> Tuple.tuple(plan.setup(), plan.seconds()))
                        .toList());
    }

    @Test
    void whereNothingFitsNothingIsFound() {
        Search search = search(1900, asked(8, 1));
        assertThat(search.best(3)).isEmpty();
        assertThat(search.nearest()).isEmpty();
    }

    /** One row for four GPUs, and a head that does not split: parts of the row are all that is left. */
    @Test
    void aSequenceIsCutWhereThereIsNoOtherWay() {
        ModelConfig one = Preset.SMALL.config(1000, 0, 1, 2);
        Setup setup = new Setup(withHeads(one, 3), Precision.BF16, new Layout(2, 1), DataParallel.Mode.REPLICATED,
                Recompute.NONE, 1, LENGTH, 1);
        assertThat(search(6000, setup).best(9)).isNotEmpty().extracting(plan -> plan.setup().layout())
                .containsOnly(new Layout(1, 2, 1));
    }

    /** What does not fit, replicated and in one piece, on memory for the half of it. */
    @Test
    void theNearestDiffersInAsFewSettingsAsCanBe() {
        Setup asked = asked(64, 1);
        Planner planner = new Planner(Accelerator.of("h100"));
        long needed = planner.plan(asked, 0).bytes();
        Search search = new Search(new Planner(Accelerator.of("h100").withMemory(needed - 1)), asked);
        Setup nearest = search.nearest().orElseThrow().setup();
        int changes = changes(asked, nearest);
        assertThat(changes).isOne();
        Setup far = asked(64, 1);
        long libraries = Plan.libraries(far.layout());
        Search tight = new Search(
                new Planner(Accelerator.of("h100").withMemory(libraries + (needed - libraries) / 7)),
                far);
        int fewest = tight.everything().stream().filter(tight::fits).mapToInt(setup -> changes(far, setup)).min()
                .orElseThrow();
        Setup found = tight.nearest().orElseThrow().setup();
        assertThat(changes(far, found)).isEqualTo(fewest).isGreaterThan(1);
    }

    private static int changes(Setup a, Setup b) {
        return (a.layout().tensor() == b.layout().tensor() ? 0 : 1)
                + (a.layout().sequence() == b.layout().sequence() ? 0 : 1)
                + (a.sharding() == b.sharding() ? 0 : 1) + (a.recompute() == b.recompute() ? 0 : 1)
                + (a.microBatches() == b.microBatches() ? 0 : 1);
    }

    private static Setup asked(int rows, int microBatches) {
        return new Setup(CONFIG, Precision.BF16, new Layout(4, 1), DataParallel.Mode.REPLICATED, Recompute.NONE, rows,
                LENGTH, microBatches);
    }

    private static Search search(long mebibytes, Setup asked) {
        return new Search(new Planner(Accelerator.of("h100").withMemory(mebibytes << 20)), asked);
    }

    private static ModelConfig withHeads(ModelConfig c, int heads) {
        return new ModelConfig(c.vocabulary(), c.width(), c.layers(), heads, c.hidden(), c.gluWidth(), c.norm(),
                c.attentionActivation(), c.gluActivation(), c.position(), c.positions(), c.lrpeLayers(), c.decay(),
                c.temperature(), c.gate(), c.scaleEmbedding(), c.bias(), c.tiedHead(), c.initStd(), c.padding(),
                c.bos(),
                c.eos());
    }
}
