package org.transnormer.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.transnormer.bench.CollectivesBench.Collective;
import org.transnormer.bench.CollectivesBench.Result;
import org.transnormer.tensor.DType;
import org.transnormer.testing.GpuRanks;

class CollectivesBenchTest {

    /** Of a ring: an all-reduce sends 2 (n - 1) / n of the tensor over each link, the others half of that. */
    @Test
    void theBandwidthIsThatOfALink() {
        assertThat(new Result(Collective.ALL_REDUCE, 1_000_000_000, 2, 10, 7).busBandwidth()).isCloseTo(1e11,
                within(1.));
        assertThat(new Result(Collective.ALL_REDUCE, 1_000_000_000, 8, 10, 7).busBandwidth()).isCloseTo(1.75e11,
                within(1.));
        assertThat(new Result(Collective.ALL_GATHER, 1_000_000_000, 4, 10, 7).busBandwidth()).isCloseTo(0.75e11,
                within(1.));
    }

    @Test
    @Tag("gpus")
    void everyCollectiveIsMeasuredAtEverySize() {
        GpuRanks.require(2);
        List<Result> results = new CollectivesBench(DType.BF16, List.of(1L << 20, 3000L), 0.01).run(2);
        assertThat(results).extracting(Result::collective).containsExactly(Collective.ALL_REDUCE,
                Collective.ALL_REDUCE_BESIDE, Collective.ALL_GATHER, Collective.REDUCE_SCATTER, Collective.ALL_REDUCE,
                Collective.ALL_REDUCE_BESIDE, Collective.ALL_GATHER, Collective.REDUCE_SCATTER);
        assertThat(results).extracting(Result::bytes).containsExactly(1L << 20, 1L << 20, 1L << 20, 1L << 20,
                3000L, 3000L, 3000L, 3000L);
        assertThat(results).allSatisfy(r -> assertThat(r.milliseconds()).isPositive());
    }
}
