package org.transnormer.inference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AfterProperty;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.eclipse.collections.api.list.primitive.IntList;
import org.eclipse.collections.impl.factory.primitive.IntLists;
import org.transnormer.EnvironmentException;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

class SamplerTest {
    private static final IntList NONE = IntLists.immutable.empty();
    private static final double[] TEMPERATURES = {1e-300, 0.1, 0.7, 1, 3};
    private static final double[] TOP_P = {1e-12, 0.3, 0.9, 0.999999, 1};
    private static final double[] PENALTIES = {0.8, 1, 1.3};

    private final TestTensors tensors = new TestTensors(1);

    @AfterProperty
    void free() {
        tensors.close();
    }

    @Property(tries = 400)
    void choosesWhatTheDefinitionReadLiterallyChooses(@ForAll long seed, @ForAll @IntRange(min = 1, max = 40) int size,
            @ForAll @IntRange(max = 45) int topK, @ForAll @IntRange(max = 1 << 20) int position) {
        SplittableRandom random = new SplittableRandom(seed);
        SamplerConfig config = new SamplerConfig(TEMPERATURES[random.nextInt(TEMPERATURES.length)], topK,
                TOP_P[random.nextInt(TOP_P.length)], PENALTIES[random.nextInt(PENALTIES.length)], random.nextInt(8),
                seed);
        double[] z = logits(random, size);
        int[] history = IntStream.range(0, random.nextInt(12)).map(i -> random.nextInt(size)).toArray();
        int sequence = random.nextInt(5);
        double u = new RandomStream(seed, Purpose.SAMPLING, "").uniform((long) sequence << 32 | position);
        assertThat(new Sampler(config, size).next(row(z, 3), 0, IntLists.immutable.of(history), sequence, position))
                .isEqualTo(literally(config, z, history, u));
    }

    @Property(tries = 100)
    void greedyTopKOfOneAndTopPOfNothingAreTheFirstOfTheLargest(@ForAll long seed,
            @ForAll @IntRange(min = 1, max = 40) int size) {
        double[] z = logits(new SplittableRandom(seed), size);
        double largest = IntStream.range(0, size).mapToDouble(i -> z[i]).max().orElseThrow();
        int want = IntStream.range(0, size).filter(i -> z[i] == largest).findFirst().orElseThrow();
        Tensor row = row(z, 0);
        for (SamplerConfig config : List.of(SamplerConfig.GREEDY, new SamplerConfig(2, 1, 1, 1, 0, seed),
                new SamplerConfig(2, 0, 0, 1, 0, seed), new SamplerConfig(2, 0, 1e-9, 1, 0, seed),
                new SamplerConfig(1e-300, 1, 1, 1, 0, seed))) {
            assertThat(new Sampler(config, size).next(row, 0, NONE, 0, 7)).isEqualTo(want);
        }
    }

    @Example
    void frequenciesAreTheProbabilities() {
        double[] p = {0.4, 0.2, 0.15, 0.1, 0.08, 0.04, 0.02, 0.01};
        double[] z = IntStream.range(0, 8).mapToDouble(i -> 3 + Math.log(p[i])).toArray();
        assertFrequencies(z, new SamplerConfig(1, 0, 1, 1, 0, 5), p);
        assertFrequencies(z, new SamplerConfig(1, 3, 1, 1, 0, 5), new double[] {0.4, 0.2, 0.15});
        assertFrequencies(z, new SamplerConfig(1, 0, 0.7, 1, 0, 5), new double[] {0.4, 0.2, 0.15});
        // Top-p counts within what top-k keeps: 0.4 + 0.2 of 0.75.
        assertFrequencies(z, new SamplerConfig(1, 3, 0.7, 1, 0, 5), new double[] {0.4, 0.2});
        double[] hot = IntStream.range(0, 8).mapToDouble(i -> Math.sqrt(p[i])).toArray();
        assertFrequencies(z, new SamplerConfig(2, 0, 1, 1, 0, 5), hot);
        double[] cold = IntStream.range(0, 8).mapToDouble(i -> p[i] * p[i]).toArray();
        assertFrequencies(z, new SamplerConfig(0.5, 0, 1, 1, 0, 5), cold);
    }

    @Example
    void eachDistinctTokenOfTheWindowIsPenalisedOnce() {
        SamplerConfig greedy = new SamplerConfig(0, 0, 1, 2, 3, 0);
        Tensor z = row(new double[] {8, 5, 3, -1, -1.5}, 0);
        assertThat(next(greedy, z, 0)).isEqualTo(1);
        assertThat(next(greedy, z, 0, 0, 1)).as("once: 4, 2.5, 3 and not 2, 2.5, 3").isEqualTo(0);
        assertThat(next(greedy, z, 0, 1)).as("4 and 2.5").isEqualTo(0);
        assertThat(next(greedy, z, 0, 1, 1, 1)).as("0 has left the window").isEqualTo(0);
        assertThat(next(greedy, z, 1, 0, 3, 3)).as("1 has left the window").isEqualTo(1);
        Tensor negative = row(new double[] {-1, -1.5}, 0);
        assertThat(next(greedy, negative, 0)).isEqualTo(1);
        assertThat(next(new SamplerConfig(0, 0, 1, 2, 0, 0), negative, 0)).as("no window").isEqualTo(0);
    }

    @Example
    void thePaddingOfTheVocabularyAndOtherRowsAreNotRead() {
        Tensor z = tensors.poisoned("logits", DType.F32, 3, 10);
        for (int id = 0; id < 7; id++) {
            z.set(1, id, id == 4 ? 1 : 0);
        }
        assertThat(new Sampler(SamplerConfig.GREEDY, 7).next(z, 1, NONE, 0, 0)).isEqualTo(4);
    }

    @Example
    void aDrawDependsOnSeedSequenceAndPositionOnly() {
        Tensor z = row(new double[64], 0);
        Sampler sampler = sampler(9);
        List<Integer> forwards = IntStream.range(0, 200).map(i -> sampler.next(z, 0, NONE, 3, i)).boxed().toList();
        Sampler other = sampler(9);
        List<Integer> backwards =
                IntStream.range(0, 200).map(i -> other.next(z, 0, NONE, 3, 199 - i)).boxed().toList();
        assertThat(backwards.reversed()).isEqualTo(forwards);
        assertThat(IntStream.range(0, 200).map(i -> other.next(z, 0, NONE, 4, i)).boxed().toList())
                .isNotEqualTo(forwards);
        Sampler reseeded = sampler(10);
        assertThat(IntStream.range(0, 200).map(i -> reseeded.next(z, 0, NONE, 3, i)).boxed().toList())
                .isNotEqualTo(forwards);
    }

    @Example
    void equalLogitsAtTheBorderOfTopKGoByTheLowestId() {
        Sampler sampler = new Sampler(new SamplerConfig(1, 3, 1, 1, 0, 2), 9);
        Tensor z = row(new double[] {0, 1, 0, 0, 1, 0, 0, 0, 0}, 0);
        assertThat(IntStream.range(0, 300).map(i -> sampler.next(z, 0, NONE, 0, i)).boxed().toList())
                .containsOnly(0, 1, 4).contains(0, 1, 4);
    }

    @Example
    void aTopPNextToOneKeepsAllAndNoMore() {
        SamplerConfig config = new SamplerConfig(1, 0, Math.nextDown(1.0), 1, 0, 0);
        for (int seed = 0; seed < 50; seed++) {
            double[] z = logits(new SplittableRandom(seed), 1000);
            assertThat(z[new Sampler(config, 1000).next(row(z, 0), 0, NONE, 0, seed)]).isFinite();
        }
    }

    @Example
    void impossibleTokensAreNeverDrawn() {
        double[] z = new double[50];
        Arrays.fill(z, Double.NEGATIVE_INFINITY);
        z[17] = -1e30;
        z[40] = -1e30;
        Sampler sampler = new Sampler(new SamplerConfig(1, 20, 0.9999, 1, 0, 2), 50);
        Tensor row = row(z, 0);
        assertThat(IntStream.range(0, 100).map(i -> sampler.next(row, 0, NONE, 0, i)).boxed().toList())
                .containsOnly(17, 40).contains(17, 40);
    }

    @Example
    void logitsThatAreNoNumbersAreRefused() {
        Sampler sampler = new Sampler(SamplerConfig.GREEDY, 3);
        assertThatThrownBy(() -> sampler.next(row(new double[] {0, Double.NaN, 1}, 0), 0, NONE, 2, 5))
                .isInstanceOf(EnvironmentException.class).hasMessageContainingAll("token 1", "NaN", "position 5",
                        "sequence 2");
        assertThatThrownBy(() -> sampler.next(row(new double[] {0, 0, Double.POSITIVE_INFINITY}, 0), 0, NONE, 0, 0))
                .isInstanceOf(EnvironmentException.class).hasMessageContainingAll("token 2", "Infinity");
        double none = Double.NEGATIVE_INFINITY;
        assertThatThrownBy(() -> sampler.next(row(new double[] {none, none, none}, 0), 0, NONE, 0, 0))
                .isInstanceOf(EnvironmentException.class).hasMessageContaining("all logits are -Infinity");
        assertThatThrownBy(() -> sampler.next(row(new double[2], 0), 0, NONE, 0, 0))
                .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("logits");
    }

    @Example
    void settingsOutOfRangeAreNamed() {
        refused(() -> new SamplerConfig(-0.1, 0, 1, 1, 0, 0), "temperature");
        refused(() -> new SamplerConfig(Double.NaN, 0, 1, 1, 0, 0), "temperature");
        refused(() -> new SamplerConfig(1, -1, 1, 1, 0, 0), "top-k");
        refused(() -> new SamplerConfig(1, 0, 1.1, 1, 0, 0), "top-p");
        refused(() -> new SamplerConfig(1, 0, 1, 0, 0, 0), "repetition penalty");
        refused(() -> new SamplerConfig(1, 0, 1, 1, -1, 0), "penalty window");
    }

    /** Chi-square of 20,000 draws against probabilities in proportion to {@code weights}; other tokens never come. */
    private void assertFrequencies(double[] z, SamplerConfig config, double[] weights) {
        int draws = 20_000;
        long[] counts = new long[z.length];
        Sampler sampler = new Sampler(config, z.length);
        Tensor row = row(z, 0);
        for (int i = 0; i < draws; i++) {
            counts[sampler.next(row, 0, NONE, i % 7, i)]++;
        }
        double sum = Arrays.stream(weights).sum();
        double chiSquare = 0;
        for (int i = 0; i < z.length; i++) {
            double expected = i < weights.length ? draws * weights[i] / sum : 0;
            if (expected == 0) {
                assertThat(counts[i]).isZero();
            } else {
                chiSquare += (counts[i] - expected) * (counts[i] - expected) / expected;
            }
        }
        // 7 or fewer degrees of freedom: above 24.3 once in a thousand.
        assertThat(chiSquare).isLessThan(24.3);
    }

    /** The definition, on sorted lists. */
    private static int literally(SamplerConfig config, double[] logits, int[] history, double u) {
        double[] z = logits.clone();
        IntStream.range(Math.max(0, history.length - config.penaltyWindow()), history.length).map(i -> history[i])
                .distinct().forEach(id -> z[id] = z[id] > 0 ? z[id] / config.repetitionPenalty()
                        : z[id] * config.repetitionPenalty());
        List<Integer> order = new ArrayList<>(IntStream.range(0, z.length).boxed()
                .filter(id -> z[id] > Double.NEGATIVE_INFINITY)
                .sorted(Comparator.comparingDouble((Integer id) -> -z[id]).thenComparing(id -> id)).toList());
        if (config.topK() > 0 && config.topK() < order.size()) {
            order.subList(config.topK(), order.size()).clear();
        }
        double max = z[order.getFirst()];
        double[] w = order.stream().mapToDouble(id -> Math.exp((z[id] - max) / config.temperature())).toArray();
        double all = Arrays.stream(w).sum();
        int kept = 0;
        double mass = 0;
        while (kept < w.length && (kept == 0 || mass < config.topP() * all)) {
            mass += w[kept++];
        }
        double running = 0;
        for (int i = 0; i < kept; i++) {
            running += w[i];
            if (running > u * mass) {
                return order.get(i);
            }
        }
        return order.get(kept - 1);
    }

    private static int next(SamplerConfig config, Tensor logits, int... history) {
        return new Sampler(config, (int) logits.dim(1)).next(logits, 0, IntLists.immutable.of(history), 0, 0);
    }

    /** Some equal, some impossible, at least one possible. */
    private static double[] logits(SplittableRandom random, int size) {
        double[] z = IntStream.range(0, size).mapToDouble(i -> switch (random.nextInt(6)) {
            case 0 -> Double.NEGATIVE_INFINITY;
            case 1 -> random.nextInt(-2, 3);
            default -> (float) (4 * random.nextGaussian());
        }).toArray();
        z[random.nextInt(size)] = 1;
        return z;
    }

    private Tensor row(double[] z, int padding) {
        Tensor row = tensors.poisoned("logits", DType.F64, 1, z.length + padding);
        for (int i = 0; i < z.length; i++) {
            row.set(0, i, z[i]);
        }
        return row;
    }

    private static Sampler sampler(long seed) {
        return new Sampler(new SamplerConfig(1, 0, 1, 1, 0, seed), 64);
    }

    private static void refused(ThrowingCallable call, String name) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageContaining(name);
    }
}
