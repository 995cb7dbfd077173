package org.transnormer.random;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.LongStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;

class RandomStreamTest {
    private static final int DRAWS = 100_000;
    private final RandomStream stream = new RandomStream(42, Purpose.INITIAL_WEIGHTS, "model.embed_tokens.weight");

    /** Results depend on these for ever: a checkpoint resumes with the same numbers. */
    @Test
    void frozen() {
        assertThat(stream.bits(0)).isEqualTo(0x7c864c608d7f0f2aL);
        assertThat(stream.uniform(1)).isEqualTo(0x1.300754284ac4ap-2);
        assertThat(stream.uniformFloat(1)).isEqualTo((float) (Math.floor(0x1.300754284ac4ap-2 * 0x1p24) * 0x1p-24));
        assertThat(stream.normal(2)).isEqualTo(0x1.8025d413fac11p-2);
        assertThat(stream.normal(3)).isEqualTo(-0x1.80706f92c2df7p-1);
        assertThat(stream.below(4, 1000)).isEqualTo(278);
        Permutation order = new RandomStream(42, Purpose.SHUFFLE, "corpus/0").permutation(10);
        assertThat(LongStream.range(0, 10).map(order::get).toArray()).containsExactly(0, 8, 2, 1, 6, 9, 4, 7, 5, 3);
    }

    @Test
    void everyPartOfTheKeyMatters() {
        Set<Long> seen = new HashSet<>();
        for (long seed : new long[] {0, 1, -1, 1L << 32, Long.MIN_VALUE}) {
            for (Purpose purpose : Purpose.values()) {
                for (String name : new String[] {"", "a", "b", "ab", "ba", "θ", "layers.0.l1", "layers.1.l1"}) {
                    RandomStream one = new RandomStream(seed, purpose, name);
                    for (long index : new long[] {0, 1, 2, 1L << 31, 1L << 32, 1L << 62, -1}) {
                        assertThat(seen.add(one.bits(index))).isTrue();
                    }
                }
            }
        }
    }

    @Test
    void uniformIsUniform() {
        int[] counts = new int[100];
        for (int i = 0; i < DRAWS; i++) {
            double u = stream.uniform(i);
            assertThat(u).isBetween(0.0, Math.nextDown(1.0));
            assertThat(stream.uniformFloat(i)).isBetween((float) u - 0x1p-24f, (float) u);
            counts[(int) (u * counts.length)]++;
        }
        assertThat(chiSquare(counts)).isLessThan(limit(counts.length));
    }

    /** Counts in intervals of equal probability, and the correlation of the two halves of a pair. */
    @Test
    void normalIsNormal() {
        double[] cuts = {-1.2815515655446004, -0.8416212335729143, -0.5244005127080407, -0.2533471031357997, 0,
            0.2533471031357997, 0.5244005127080407, 0.8416212335729143, 1.2815515655446004};
        int[] counts = new int[10];
        double sum = 0;
        double squares = 0;
        double product = 0;
        double[] normals = new double[DRAWS];
        stream.normals(0, normals);
        for (int i = 0; i < DRAWS; i++) {
            double x = normals[i];
            int at = Arrays.binarySearch(cuts, x);
            counts[at < 0 ? -at - 1 : at]++;
            sum += x;
            squares += x * x;
            product += (i & 1) == 0 ? x * normals[i + 1] : 0;
        }
        assertThat(chiSquare(counts)).isLessThan(limit(counts.length));
        assertThat(sum / DRAWS).isCloseTo(0, within(4 / Math.sqrt(DRAWS)));
        assertThat(squares / DRAWS).isCloseTo(1, within(4 * Math.sqrt(2.0 / DRAWS)));
        assertThat(product / (DRAWS / 2)).isCloseTo(0, within(4 / Math.sqrt(DRAWS / 2)));
    }

    @Property(tries = 50)
    void normalsAreTheSameOnesInBulk(@ForAll @LongRange(min = 0, max = 1L << 40) long first,
            @ForAll @IntRange(min = 0, max = 1100) int count) {
        double[] values = new double[count];
        stream.normals(first, values);
        for (int i = 0; i < count; i++) {
            assertThat(values[i]).isEqualTo(stream.normal(first + i));
        }
        RandomStream.Normals oneByOne = stream.new Normals();
        double[] few = new double[3];
        for (int i = 0; i < count; i++) {
            assertThat(oneByOne.at(first + i)).isEqualTo(values[i]);
            if (i % 97 == 0) {
                oneByOne.fill(first + i / 2, few, few.length);
            }
        }
    }

    /** Bound 3·2^61: 2^64 / bound = 8/3, so without the second attempt every third number would be rarer, 2 to 3. */
    @Test
    void belowHasNoBias() {
        int[] counts = new int[3];
        int[] thirds = new int[3];
        for (int i = 0; i < DRAWS; i++) {
            long draw = stream.below(i, 3L << 61);
            counts[(int) (draw % 3)]++;
            thirds[(int) (draw >>> 61)]++;
        }
        assertThat(chiSquare(counts)).isLessThan(limit(counts.length));
        assertThat(chiSquare(thirds)).isLessThan(limit(thirds.length));
        int[] dice = new int[6];
        for (int i = 0; i < DRAWS; i++) {
            dice[(int) stream.below(i, 6)]++;
        }
        assertThat(chiSquare(dice)).isLessThan(limit(dice.length));
        assertThat(stream.below(7, 1)).isZero();
        assertThatThrownBy(() -> stream.below(0, 0)).hasMessageContaining("not 0");
    }

    @Property(tries = 200)
    void permutationHasEveryEntryOnce(@ForAll @IntRange(min = 0, max = 700) int n, @ForAll long seed) {
        Permutation order = new RandomStream(seed, Purpose.SHUFFLE, "x").permutation(n);
        boolean[] seen = new boolean[n];
        for (int i = 0; i < n; i++) {
            int at = (int) order.get(i);
            assertThat(seen[at]).isFalse();
            seen[at] = true;
        }
    }

    @Property(tries = 100)
    void largePermutationStaysInside(@ForAll @LongRange(min = 1, max = 1L << 62) long n, @ForAll long seed) {
        Permutation order = new RandomStream(seed, Purpose.SHUFFLE, "x").permutation(n);
        assertThat(order.get(n - 1)).isBetween(0L, n - 1);
        assertThat(order.get(0)).isBetween(0L, n - 1);
        assertThat(n == 1 || order.get(0) != order.get(n - 1)).isTrue();
        assertThatThrownBy(() -> order.get(n)).isInstanceOf(IndexOutOfBoundsException.class);
    }

    /** All 24 orders of 4, and where entry 0 of 5, 10 and 100 goes, are equally likely over the seeds. */
    @Test
    void ordersAreEquallyLikely() {
        int[] orders = new int[256];
        for (int seed = 0; seed < 24_000; seed++) {
            Permutation order = new RandomStream(seed, Purpose.SHUFFLE, "x").permutation(4);
            int code = 0;
            for (int i = 0; i < 4; i++) {
                code = code * 4 + (int) order.get(i);
            }
            orders[code]++;
        }
        int[] seen = Arrays.stream(orders).filter(n -> n > 0).toArray();
        assertThat(seen).hasSize(24);
        assertThat(chiSquare(seen)).isLessThan(limit(24));
        for (int n : new int[] {5, 10, 100}) {
            int[] first = new int[n];
            int[] step = new int[n];
            for (int seed = 0; seed < 20_000; seed++) {
                Permutation order = new RandomStream(seed, Purpose.SHUFFLE, "x").permutation(n);
                first[(int) order.get(0)]++;
                step[(int) Math.floorMod(order.get(2) - order.get(1), (long) n)]++;
            }
            assertThat(chiSquare(first)).isLessThan(limit(n));
            assertThat(step[0]).isZero();
            assertThat(chiSquare(Arrays.copyOfRange(step, 1, n))).isLessThan(limit(n - 1));
        }
    }

    private static double chiSquare(int[] counts) {
        double expected = Arrays.stream(counts).sum() / (double) counts.length;
        return Arrays.stream(counts).mapToDouble(n -> (n - expected) * (n - expected) / expected).sum();
    }

    /** Mean of the statistic plus five standard deviations. */
    private static double limit(int cells) {
        return cells - 1 + 5 * Math.sqrt(2.0 * (cells - 1));
    }
}
