package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.Place;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** What every {@link Communicator} does. SPEC section 7. */
interface CommunicatorContract {
    /** What a rank does; it touches tensors of the host between collectives only by its place. */
    @FunctionalInterface
    interface Body {
        void run(Communicator ranks, Place place);
    }

    /** Tensors of (rows, columns), {@code before} elements into a poisoned buffer. */
    record Case(int ranks, DType dtype, int rows, int columns, int before, Values values, long seed) {

        /** A tensor per rank, with a poisoned element behind it. */
        List<Tensor> perRank(TestTensors tensors, long height, boolean filled) {
            return IntStream.range(0, ranks).mapToObj(r -> {
                long size = height * columns;
                Tensor t = Tensor.of("x" + r, dtype, tensors.poisoned("x", dtype, before + size + 1).storage(), before,
                        height, columns);
                return filled ? tensors.fill(t, values) : t;
            }).toList();
        }
    }

    /** Numbers of ranks to try. */
    List<Integer> sizes();

    /** Runs all ranks to their end. */
    void run(int size, Body body);

    /** Whether a sum over so many ranks is added in their order, in double, and rounded once; else it is within that. */
    default boolean inOrder(int size) {
        return true;
    }

    @Provide
    default Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.of(sizes()),
                Arbitraries.of(DType.F64, DType.F32, DType.BF16, DType.F16, DType.I32),
                Arbitraries.of(0, 1, 2, 3, 7, 16, 17), Arbitraries.of(1, 2, 5, 33), Arbitraries.of(0, 1, 3),
                Arbitraries.of(Values.NORMAL, Values.OFFSET, Values.LARGE), Arbitraries.longs()).as(Case::new);
    }

    private static List<Tensor> copies(TestTensors tensors, List<Tensor> all) {
        return all.stream().map(t -> tensors.copy(t, t.dtype())).toList();
    }

    /** The same bits; of a NaN only that it is one: which one it is, hardware decides. */
    private static void assertSame(Tensor got, Tensor want) {
        for (long i = 0; i < want.size(); i++) {
            assertThat(Double.doubleToLongBits(got.getFlat(i))).as("%s[%d] = %s, want %s", got, i, got.getFlat(i),
                    want.getFlat(i)).isEqualTo(Double.doubleToLongBits(want.getFlat(i)));
        }
    }

    /** Poison behind a tensor: a collective that wrote beyond it would have replaced it. */
    private static void assertFrame(Tensor t) {
        double behind = Tensor.of("behind", t.dtype(), t.storage(), t.offset() + t.size(), 1).get(0);
        assertThat(t.dtype() == DType.I32 ? behind : Double.isNaN(behind) ? Integer.MIN_VALUE : behind)
                .as("element behind %s", t).isEqualTo(Integer.MIN_VALUE);
    }

    /** The sum in the order of the ranks, in double, rounded once. */
    private static Tensor sum(TestTensors tensors, List<Tensor> all) {
        Tensor sum = tensors.zeros("sum", all.getFirst().dtype(), all.getFirst().shape());
        for (long i = 0; i < sum.size(); i++) {
            double s = all.getFirst().getFlat(i);
            for (Tensor t : all.subList(1, all.size())) {
                s += t.getFlat(i);
            }
            sum.setFlat(i, s);
        }
        return sum;
    }

    /** In another order or type, each of n - 1 additions rounds a part of Σ|x|, and so did the wanted sum. */
    private void assertSum(TestTensors tensors, Tensor got, Tensor want, List<Tensor> all) {
        if (inOrder(all.size()) || want.dtype() == DType.I32) {
            assertSame(got, want);
            return;
        }
        Tensor terms = sum(tensors, all.stream().map(tensors::magnitude).toList());
        double c = all.size();
        new Tolerance(c, c).compare("sum", got, want, terms, want.dtype().unitRoundoff()).orThrow();
    }

    @Property(tries = 40)
    default void allReduceSumIsTheSumOfTheRanks(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> all = c.perRank(tensors, c.rows, true);
            List<Tensor> before = copies(tensors, all);
            Tensor want = sum(tensors, before);
            run(c.ranks, (ranks, place) -> place.use(all.get(ranks.rank()), ranks::allReduceSum));
            all.forEach(t -> assertSum(tensors, t, want, before));
            all.forEach(t -> assertSame(t, all.getFirst()));
            all.forEach(CommunicatorContract::assertFrame);
        }
    }

    @Property(tries = 20)
    default void allReduceMaxIsTheLargest(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> all = c.perRank(tensors, c.rows, true);
            Tensor want = tensors.zeros("max", c.dtype, c.rows, c.columns);
            for (long i = 0; i < want.size(); i++) {
                long at = i;
                want.setFlat(i, all.stream().mapToDouble(t -> t.getFlat(at)).max().orElseThrow());
            }
            run(c.ranks, (ranks, place) -> place.use(all.get(ranks.rank()), ranks::allReduceMax));
            all.forEach(t -> assertSame(t, want));
            all.forEach(CommunicatorContract::assertFrame);
        }
    }

    @Property(tries = 20)
    default void broadcastCopiesTheRoot(@ForAll("cases") Case c) {
        int root = Math.floorMod(c.seed, c.ranks);
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> all = c.perRank(tensors, c.rows, true);
            Tensor want = tensors.copy(all.get(root), c.dtype);
            run(c.ranks, (ranks, place) -> place.use(all.get(ranks.rank()), x -> ranks.broadcast(x, root)));
            all.forEach(t -> assertSame(t, want));
            all.forEach(CommunicatorContract::assertFrame);
        }
    }

    @Property(tries = 20)
    default void allGatherPutsTheParts(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> parts = c.perRank(tensors, c.rows, true);
            List<Tensor> wholes = c.perRank(tensors, (long) c.rows * c.ranks, false);
            List<Tensor> inPlace = c.perRank(tensors, (long) c.rows * c.ranks, false);
            for (int r = 0; r < c.ranks; r++) {
                own(c, inPlace.get(r), r).copyFrom(parts.get(r));
            }
            run(c.ranks, (ranks, place) -> {
                int r = ranks.rank();
                place.use(parts.get(r), wholes.get(r), ranks::allGather);
                place.use(inPlace.get(r), x -> ranks.allGather(own(c, x, r), x));
            });
            for (int r = 0; r < c.ranks; r++) {
                for (int p = 0; p < c.ranks; p++) {
                    assertSame(own(c, wholes.get(r), p), parts.get(p));
                }
                assertSame(inPlace.get(r), wholes.get(r));
                assertFrame(wholes.get(r));
            }
        }
    }

    /** Rank r's range of a whole. */
    private static Tensor own(Case c, Tensor whole, int r) {
        return whole.slice(0, (long) r * c.rows, (r + 1L) * c.rows);
    }

    @Property(tries = 20)
    default void reduceScatterIsARangeOfTheSum(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> wholes = c.perRank(tensors, (long) c.rows * c.ranks, true);
            List<Tensor> before = copies(tensors, wholes);
            List<Tensor> inPlace = copies(tensors, wholes);
            List<Tensor> parts = c.perRank(tensors, c.rows, false);
            run(c.ranks, (ranks, place) -> {
                int r = ranks.rank();
                place.use(wholes.get(r), parts.get(r), ranks::reduceScatterSum);
                place.use(inPlace.get(r), x -> ranks.reduceScatterSum(x, own(c, x, r)));
            });
            Tensor sum = sum(tensors, before);
            for (int r = 0; r < c.ranks; r++) {
                int rank = r;
                assertSum(tensors, parts.get(r), own(c, sum, r), before.stream().map(t -> own(c, t, rank)).toList());
                assertSame(own(c, inPlace.get(r), r), parts.get(r));
                assertSame(wholes.get(r), before.get(r));
                assertFrame(parts.get(r));
            }
        }
    }

    /** Each rank hands on what comes from the one before, as states are handed along a text. */
    @Property(tries = 20)
    default void aChainOfSendsPassesEveryRank(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> all = c.perRank(tensors, c.rows, true);
            List<Tensor> received = c.perRank(tensors, c.rows, false);
            run(c.ranks, (ranks, place) -> {
                int r = ranks.rank();
                place.use(all.get(r), received.get(r), (own, came) -> {
                    if (r > 0) {
                        ranks.receive(came, r - 1);
                    }
                    if (r < c.ranks - 1) {
                        ranks.send(r == 0 ? own : came, r + 1);
                    }
                });
            });
            received.subList(1, c.ranks).forEach(t -> assertSame(t, all.getFirst()));
        }
    }

    /** Sums are the same bits again, whatever else was exchanged between. */
    @Property(tries = 10)
    default void sumsRepeat(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> first = c.perRank(tensors, c.rows, true);
            List<Tensor> second = copies(tensors, first);
            run(c.ranks, (ranks, place) -> {
                place.use(first.get(ranks.rank()), ranks::allReduceSum);
                place.use(first.get(ranks.rank()), x -> ranks.broadcast(x, 0));
                place.use(second.get(ranks.rank()), ranks::allReduceSum);
            });
            for (int r = 0; r < c.ranks; r++) {
                assertSame(second.get(r), first.get(r));
            }
        }
    }

    /** Every two neighbours, every second one, and parts of parts, all in use by turns. */
    @Example
    default void partsOfTheRanksHaveTheirOwnCollectives() {
        for (int size : sizes()) {
            run(size, (ranks, place) -> {
                int r = ranks.rank();
                Communicator pair = ranks.split(r / 2);
                Communicator parity = ranks.split(r % 2);
                assertThat(pair.rank()).isEqualTo(r % 2);
                assertThat(pair.size()).isEqualTo(Math.min(2, size - r / 2 * 2));
                assertThat(parity.rank()).isEqualTo(r / 2);
                assertThat(parity.size()).isEqualTo((size + 1 - r % 2) / 2);
                for (int i = 0; i < 5; i++) {
                    assertThat(sum(place, pair, r)).isEqualTo(sumOf(size, other -> other / 2 == r / 2));
                    assertThat(sum(place, parity, r)).isEqualTo(sumOf(size, other -> other % 2 == r % 2));
                }
                Communicator alone = parity.split(r);
                assertThat(alone.size()).isEqualTo(1);
                assertThat(sum(place, alone, r)).isEqualTo(r);
                assertThat(sum(place, ranks, r)).isEqualTo(sumOf(size, other -> true));
            });
        }
    }

    private static double sumOf(int size, IntPredicate taken) {
        return IntStream.range(0, size).filter(taken).sum();
    }

    private static double sum(Place place, Communicator ranks, int own) {
        Tensor x = TestTensors.numbers(own);
        place.use(x, ranks::allReduceSum);
        return x.get(0);
    }

    /** What is gathered beside the computation is there for it, and what it left is there to be gathered. */
    @Example
    default void collectivesBesideTheComputationWaitWhereTheyAreTold() {
        int n = 1000;
        for (int size : sizes()) {
            run(size, (ranks, place) -> {
                Communicator side = ranks.beside();
                Tensor values = TestTensors.numbers(new double[n]);
                Tensor buffer = TestTensors.numbers(new double[n]);
                Tensor results = TestTensors.numbers(new double[n]);
                for (int round = 1; round <= 3; round++) {
                    values.fill(round * (ranks.rank() + 1));
                    double want = round * size * (size + 1) / 2.0;
                    place.use(List.of(values, buffer, results), at -> {
                        at.get(1).copyFrom(at.get(0));
                        side.collectivesAwaitCompute();
                        side.allReduceSum(at.get(1));
                        side.computeAwaitsCollectives();
                        at.get(2).copyFrom(at.get(1));
                        side.collectivesAwaitCompute();
                        side.broadcast(at.get(0), 0);
                        side.computeAwaitsCollectives();
                    });
                    for (int i = 0; i < n; i++) {
                        assertThat(results.get(i)).isEqualTo(want);
                        assertThat(values.get(i)).isEqualTo(round);
                    }
                }
            });
        }
    }

    /** Of several that are called one after the other, the first are awaited alone. */
    @Example
    default void theLastCollectivesNeedNotBeAwaited() {
        int n = 1000;
        int calls = 2 * Communicator.MOST_UNAWAITED;
        for (int size : sizes()) {
            run(size, (ranks, place) -> {
                Communicator side = ranks.beside();
                List<Tensor> buffers = IntStream.range(0, calls).mapToObj(i -> TestTensors.numbers(new double[n]))
                        .toList();
                Tensor results = TestTensors.numbers(new double[Communicator.MOST_UNAWAITED + 1]);
                for (int i = 0; i < calls; i++) {
                    buffers.get(i).fill((i + 1) * (ranks.rank() + 1));
                }
                List<Tensor> all = new ArrayList<>(buffers);
                all.add(results);
                place.use(all, at -> {
                    side.collectivesAwaitCompute();
                    at.subList(0, calls).forEach(side::allReduceSum);
                    for (int last = Communicator.MOST_UNAWAITED; last >= 0; last--) {
                        side.computeAwaitsCollectives(last);
                        at.get(calls).slice(0, last, last + 1).copyFrom(at.get(calls - 1 - last).slice(0, n - 1, n));
                    }
                });
                for (int last = 0; last <= Communicator.MOST_UNAWAITED; last++) {
                    assertThat(results.get(last)).isEqualTo((calls - last) * size * (size + 1) / 2.0);
                }
            });
        }
    }

    @Example
    default void nobodyPassesABarrierBeforeAllAreThere() {
        for (int size : sizes()) {
            AtomicInteger arrived = new AtomicInteger();
            run(size, (ranks, place) -> {
                for (int i = 1; i <= 20; i++) {
                    if (i % size == ranks.rank()) {
                        Thread.yield();
                    }
                    arrived.incrementAndGet();
                    ranks.barrier();
                    assertThat(arrived.get()).isEqualTo(i * size);
                    ranks.barrier();
                }
            });
        }
    }
}
