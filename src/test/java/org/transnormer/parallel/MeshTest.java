package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.tensor.Tensor;

/** Who exchanges with whom. */
class MeshTest {
    private static final Duration LONG = Duration.ofSeconds(60);

    /** Sums of the ranks' numbers over each group, several times: groups do not disturb each other. */
    @Property(tries = 20)
    void eachGroupExchangesWithItself(@ForAll @IntRange(min = 1, max = 4) int data,
            @ForAll @IntRange(min = 1, max = 3) int sequence, @ForAll @IntRange(min = 1, max = 3) int tensor) {
        Layout layout = new Layout(data, sequence, tensor);
        if (layout.size() == 1) {
            assertThat(Mesh.of(layout, Communicator.single())).isEqualTo(Mesh.single());
            return;
        }
        InProcess.run(layout.size(), LONG, world -> {
            Mesh mesh = Mesh.of(layout, world);
            int rank = world.rank();
            int reader = rank / tensor;
            int tensorRank = rank % tensor;
            int part = reader % sequence;
            assertThat(mesh.data().rank()).isEqualTo(reader).isEqualTo(layout.readerRank(rank));
            assertThat(mesh.sequence().rank()).isEqualTo(part).isEqualTo(layout.sequenceRank(rank));
            assertThat(layout.dataRank(rank)).isEqualTo(reader / sequence);
            assertThat(mesh.tensor().rank()).isEqualTo(tensorRank).isEqualTo(layout.tensorRank(rank));
            for (int round = 0; round < 5; round++) {
                assertThat(sum(mesh.tensor(), rank))
                        .isEqualTo(IntStream.range(0, tensor).map(t -> reader * tensor + t).sum());
                assertThat(sum(mesh.sequence(), rank)).isEqualTo(IntStream.range(0, sequence)
                        .map(s -> (reader - part + s) * tensor + tensorRank).sum());
                assertThat(sum(mesh.data(), rank)).isEqualTo(IntStream.range(0, data * sequence)
                        .map(r -> r * tensor + tensorRank).sum());
            }
            assertThat(sum(world, rank)).isEqualTo(layout.size() * (layout.size() - 1) / 2.0);
        });
    }

    private static double sum(Communicator communicator, int rank) {
        Tensor x = Tensor.of((double) rank);
        communicator.allReduceSum(x);
        return x.get(0);
    }

    /** Beside the computation the result is there when it is awaited, and not before. */
    @Example
    void collectivesBesideTheComputationTakePlaceWhenTheyAreAwaited() {
        InProcess.run(2, LONG, world -> {
            Communicator beside = world.beside();
            Tensor x = Tensor.of(1.0 + world.rank());
            Tensor all = Tensor.of(0, 0);
            beside.collectivesAwaitCompute();
            beside.allReduceSum(x);
            beside.allGather(x, all);
            assertThat(x.get(0)).isEqualTo(1.0 + world.rank());
            assertThat(all.get(1)).isZero();
            beside.computeAwaitsCollectives();
            assertThat(x.get(0)).isEqualTo(3);
            assertThat(all.get(1)).isEqualTo(3);
            beside.computeAwaitsCollectives();
            assertThat(x.get(0)).isEqualTo(3);
        });
    }

    @Example
    void aPlannedRankKnowsItsPlaceAndExchangesNothing() {
        Mesh mesh = Mesh.planned(new Layout(4, 3, 2), 15);
        assertThat(mesh.data()).isEqualTo(new Communicator.Planned(7, 12));
        assertThat(mesh.sequence()).isEqualTo(new Communicator.Planned(1, 3));
        assertThat(mesh.tensor()).isEqualTo(new Communicator.Planned(1, 2));
        assertThatThrownBy(() -> mesh.world().barrier()).isInstanceOf(IllegalStateException.class);
    }

    @Example
    void aLayoutHasAsManyRanksAsTheWorld() {
        assertThatThrownBy(() -> Mesh.of(new Layout(2, 2), new Communicator.Planned(0, 6)))
                .hasMessage("data 2 x sequence 1 x tensor 2 is 4 ranks, and there are 6");
        assertThatThrownBy(() -> new Layout(0, 2)).isInstanceOf(IllegalArgumentException.class);
    }
}
