package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

class ShardTest {
    record Case(long outer, int share, int groups, long inner, int size, boolean first, long seed) {
        int axis() {
            return first ? 0 : 1;
        }

        long[] whole() {
            long split = (long) share * groups * size;
            return first ? new long[] {split, inner} : new long[] {outer, split, inner};
        }

        Shard shard(int rank) {
            return new Shard(axis(), groups, rank, size);
        }
    }

    @Provide
    Arbitrary<Case> cases() {
        Arbitrary<Integer> few = Arbitraries.integers().between(1, 4);
        return Combinators.combine(few.map(Integer::longValue), few, few, few.map(Integer::longValue),
                Arbitraries.of(1, 2, 3, 4, 8), Arbitraries.of(true, false), Arbitraries.longs()).as(Case::new);
    }

    /** The views that a part is made of, cut out by hand. */
    private static List<Double> cut(Tensor whole, Case c, int rank) {
        List<Double> values = new ArrayList<>();
        long[] shape = whole.shape();
        long outer = c.first ? 1 : shape[0];
        long inner = shape[shape.length - 1];
        long run = (long) c.share * c.size;
        for (long o = 0; o < outer; o++) {
            for (long g = 0; g < c.groups; g++) {
                for (long i = 0; i < c.share; i++) {
                    for (long j = 0; j < inner; j++) {
                        long at = g * run + (long) rank * c.share + i;
                        values.add(c.first ? whole.get(at, j) : whole.get(o, at, j));
                    }
                }
            }
        }
        return values;
    }

    @Property(tries = 60)
    void aPartIsItsShareOfEachGroupAndThePartsAreTheWhole(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            Tensor whole = tensors.random("whole", DType.F32, Values.NORMAL, c.whole());
            Tensor again = tensors.poisoned("again", DType.F32, c.whole());
            for (int rank = 0; rank < c.size; rank++) {
                Shard shard = c.shard(rank);
                Tensor part = tensors.poisoned("part", DType.F32, shard.part(c.whole()));
                shard.take(whole, part);
                List<Double> want = cut(whole, c, rank);
                assertThat(part.size()).isEqualTo(want.size());
                for (int i = 0; i < want.size(); i++) {
                    assertThat(part.getFlat(i)).isEqualTo(want.get(i));
                    assertThat(whole.getFlat(shard.wholeIndex(i, part.shape()))).isEqualTo(want.get(i));
                    assertThat(shard.runFrom(i, part.shape())).isPositive();
                }
                shard.give(part, again);
            }
            for (long i = 0; i < whole.size(); i++) {
                assertThat(again.getFlat(i)).isEqualTo(whole.getFlat(i));
            }
        }
    }

    @Example
    void aWholeThatEndsEarlyLeavesTheRestAlone() {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor whole = tensors.random("whole", DType.F32, Values.NORMAL, 5, 2);
            for (int rank = 0; rank < 4; rank++) {
                Tensor part = tensors.poisoned("part", DType.F32, 2, 2);
                new Shard(0, 1, rank, 4).take(whole, part);
                for (int i = 0; i < 2; i++) {
                    int row = 2 * rank + i;
                    assertThat(part.get(i, 1)).isEqualTo(Double.valueOf(row < 5 ? whole.get(row, 1) : Double.NaN));
                }
            }
        }
    }

    @Example
    void whatIsNotSplitIsTheWhole() {
        assertThat(Shard.whole().part(3, 5)).containsExactly(3, 5);
        assertThat(Shard.whole().wholeIndex(7, 3, 5)).isEqualTo(7);
        assertThat(Shard.whole().runFrom(7, 3, 5)).isEqualTo(8);
        assertThat(Arrays.asList(Shard.whole().isReplicated(), new Shard(0, 1, 0, 2).isReplicated()))
                .containsExactly(true, false);
    }

    @Example
    void whatDoesNotDivideIsRefused() {
        assertThatThrownBy(() -> new Shard(0, 4, 0, 3).part(16, 2)).isInstanceOf(IllegalArgumentException.class)
                .hasMessage("axis 0 of [16, 2] is not 4 times 3 equal parts");
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor gaps = tensors.zeros("x", DType.F32, 4, 4).slice(1, 0, 2);
            assertThatThrownBy(() -> new Shard(0, 1, 0, 2).take(gaps, tensors.zeros("y", DType.F32, 2, 2)))
                    .hasMessage("x F32 [4, 2] has gaps, want none");
        }
    }
}
