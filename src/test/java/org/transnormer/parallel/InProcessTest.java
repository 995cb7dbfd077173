package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
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
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** Ranks that are threads: what each collective gives, and how a rank that fails, hangs or strays ends all. */
class InProcessTest {
    private static final Duration LONG = Duration.ofSeconds(60);
    private static final Duration SHORT = Duration.ofMillis(300);

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

    @Provide
    Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.of(2, 3, 4, 8), Arbitraries.of(DType.F64, DType.F32, DType.BF16),
                Arbitraries.of(0, 1, 2, 3, 7, 16, 17), Arbitraries.of(1, 2, 5, 33), Arbitraries.of(0, 1, 3),
                Arbitraries.of(Values.NORMAL, Values.OFFSET, Values.LARGE), Arbitraries.longs()).as(Case::new);
    }

    private static List<Tensor> copies(TestTensors tensors, List<Tensor> all) {
        return all.stream().map(t -> tensors.copy(t, t.dtype())).toList();
    }

    private static void assertSame(Tensor got, Tensor want) {
        for (long i = 0; i < want.size(); i++) {
            assertThat(Double.doubleToRawLongBits(got.getFlat(i))).as("%s[%d] = %s, want %s", got, i, got.getFlat(i),
                    want.getFlat(i)).isEqualTo(Double.doubleToRawLongBits(want.getFlat(i)));
        }
    }

    /** NaN behind a tensor: a collective that wrote beyond it would have replaced it. */
    private static void assertFrame(Tensor t) {
        Tensor behind = Tensor.of("behind", t.dtype(), t.storage(), t.offset() + t.size(), 1);
        assertThat(behind.get(0)).as("element behind %s", t).isNaN();
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

    @Property(tries = 40)
    void allReduceSumIsTheSumInTheOrderOfTheRanks(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> all = c.perRank(tensors, c.rows, true);
            Tensor want = sum(tensors, copies(tensors, all));
            InProcess.run(c.ranks, LONG, ranks -> ranks.allReduceSum(all.get(ranks.rank())));
            all.forEach(t -> assertSame(t, want));
            all.forEach(InProcessTest::assertFrame);
        }
    }

    @Property(tries = 20)
    void allReduceMaxIsTheLargest(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> all = c.perRank(tensors, c.rows, true);
            Tensor want = tensors.zeros("max", c.dtype, c.rows, c.columns);
            for (long i = 0; i < want.size(); i++) {
                long at = i;
                want.setFlat(i, all.stream().mapToDouble(t -> t.getFlat(at)).max().orElseThrow());
            }
            InProcess.run(c.ranks, LONG, ranks -> ranks.allReduceMax(all.get(ranks.rank())));
            all.forEach(t -> assertSame(t, want));
        }
    }

    @Property(tries = 20)
    void broadcastCopiesTheRoot(@ForAll("cases") Case c) {
        int root = Math.floorMod(c.seed, c.ranks);
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> all = c.perRank(tensors, c.rows, true);
            Tensor want = tensors.copy(all.get(root), c.dtype);
            InProcess.run(c.ranks, LONG, ranks -> ranks.broadcast(all.get(ranks.rank()), root));
            all.forEach(t -> assertSame(t, want));
            all.forEach(InProcessTest::assertFrame);
        }
    }

    @Property(tries = 20)
    void allGatherPutsTheParts(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> parts = c.perRank(tensors, c.rows, true);
            List<Tensor> wholes = c.perRank(tensors, (long) c.rows * c.ranks, false);
            List<Tensor> inPlace = c.perRank(tensors, (long) c.rows * c.ranks, false);
            InProcess.run(c.ranks, LONG, ranks -> {
                int r = ranks.rank();
                ranks.allGather(parts.get(r), wholes.get(r));
                Tensor own = inPlace.get(r).slice(0, (long) r * c.rows, (r + 1L) * c.rows);
                own.copyFrom(parts.get(r));
                ranks.allGather(own, inPlace.get(r));
            });
            for (int r = 0; r < c.ranks; r++) {
                for (int p = 0; p < c.ranks; p++) {
                    assertSame(wholes.get(r).slice(0, (long) p * c.rows, (p + 1L) * c.rows), parts.get(p));
                }
                assertSame(inPlace.get(r), wholes.get(r));
                assertFrame(wholes.get(r));
            }
        }
    }

    @Property(tries = 20)
    void reduceScatterIsARangeOfTheSum(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> wholes = c.perRank(tensors, (long) c.rows * c.ranks, true);
            List<Tensor> before = copies(tensors, wholes);
            List<Tensor> inPlace = copies(tensors, wholes);
            List<Tensor> parts = c.perRank(tensors, c.rows, false);
            InProcess.run(c.ranks, LONG, ranks -> {
                int r = ranks.rank();
                ranks.reduceScatterSum(wholes.get(r), parts.get(r));
                ranks.reduceScatterSum(inPlace.get(r), inPlace.get(r).slice(0, (long) r * c.rows, (r + 1L) * c.rows));
            });
            Tensor sum = sum(tensors, before);
            for (int r = 0; r < c.ranks; r++) {
                Tensor want = sum.slice(0, (long) r * c.rows, (r + 1L) * c.rows);
                assertSame(parts.get(r), want);
                assertSame(inPlace.get(r).slice(0, (long) r * c.rows, (r + 1L) * c.rows), want);
                assertSame(wholes.get(r), before.get(r));
                assertFrame(parts.get(r));
            }
        }
    }

    /** Each rank adds its own to what comes from the one before and hands it on, as states are handed along a text. */
    @Property(tries = 20)
    void aChainOfSendsPassesEveryRank(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<Tensor> all = c.perRank(tensors, c.rows, true);
            List<Tensor> received = c.perRank(tensors, c.rows, false);
            InProcess.run(c.ranks, LONG, ranks -> {
                int r = ranks.rank();
                if (r > 0) {
                    ranks.receive(received.get(r), r - 1);
                }
                if (r < c.ranks - 1) {
                    ranks.send(r == 0 ? all.get(0) : received.get(r), r + 1);
                }
            });
            received.subList(1, c.ranks).forEach(t -> assertSame(t, all.getFirst()));
        }
    }

    /** Whether counters of ranks that take their time are seen whole behind a barrier, again and again. */
    @Example
    void nobodyPassesABarrierBeforeAllAreThere() {
        int[] counts = new int[3];
        InProcess.run(3, LONG, ranks -> {
            for (int i = 1; i <= 50; i++) {
                if (i % 3 == ranks.rank()) {
                    Thread.yield();
                }
                counts[ranks.rank()] = i;
                ranks.barrier();
                assertThat(counts).containsOnly(i);
                ranks.barrier();
            }
        });
    }

    /** Six ranks as 2 x 3: the sum over a row and that over a column; a part of a part; two splits at once. */
    @Example
    void partsOfTheRanksHaveTheirOwnCollectives() {
        try (TestTensors tensors = new TestTensors(0)) {
            InProcess.run(6, LONG, ranks -> {
                int r = ranks.rank();
                Communicator row = ranks.split(r / 3);
                Communicator column = ranks.split(r % 3);
                assertThat(new int[] {row.rank(), row.size(), column.rank(), column.size()}).containsExactly(r % 3, 3,
                        r / 3, 2);
                for (int i = 0; i < 20; i++) {
                    assertThat(sum(tensors, row, r)).isEqualTo(r < 3 ? 0 + 1 + 2 : 3 + 4 + 5);
                    assertThat(sum(tensors, column, r)).isEqualTo(2 * (r % 3) + 3);
                }
                Communicator last = row.split(row.rank() == 2 ? 1 : 0);
                assertThat(sum(tensors, last, r)).isEqualTo(switch (r) {
                    case 0, 1 -> 1;
                    case 3, 4 -> 7;
                    default -> r;
                });
                assertThat(sum(tensors, ranks, r)).isEqualTo(15);
            });
        }
    }

    private static double sum(TestTensors tensors, Communicator ranks, int own) {
        Tensor x;
        synchronized (tensors) {
            x = tensors.zeros("x", DType.F64, 1);
        }
        x.set(0, own);
        ranks.allReduceSum(x);
        return x.get(0);
    }

    /** The one to blame has its number among all ranks, and those who wait in another part end too. */
    @Example
    void aFailureInAPartEndsAllAndNamesTheRankOfTheWhole() {
        ConcurrentLinkedQueue<Throwable> seen = new ConcurrentLinkedQueue<>();
        RankException e = failure(4, LONG, ranks -> {
            Communicator part = ranks.split(ranks.rank() / 2);
            if (ranks.rank() != 3) {
                part.barrier();
                ranks.barrier();
            }
        }, seen);
        assertThat(e).hasMessage("rank 3 has ended without barrier");
        assertThat(seen).hasSize(3);
        assertThat(failure(4, LONG, ranks -> {
            Communicator part = ranks.split(ranks.rank() % 2);
            part.broadcast(Tensor.of(new double[ranks.rank() == 3 ? 2 : 1]), 0);
            ranks.barrier();
        }, seen)).hasMessageContaining("rank 3 calls broadcast of values F64 [2]");
    }

    @Example
    void nanAndInfinityAreNotLost() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor[] x = {tensors.zeros("a", DType.F32, 2), tensors.zeros("b", DType.F32, 2)};
            x[1].set(0, Double.NaN);
            x[0].set(1, Double.NEGATIVE_INFINITY);
            x[1].set(1, Double.NEGATIVE_INFINITY);
            InProcess.run(2, LONG, ranks -> ranks.allReduceMax(x[ranks.rank()]));
            assertThat(x[0].get(0)).isNaN();
            assertThat(x[0].get(1)).isEqualTo(Double.NEGATIVE_INFINITY);
        }
    }

    /** Runs two or more ranks of which some fail; what all of them threw, and run itself. */
    private static RankException failure(int ranks, Duration timeout, Consumer<Communicator> body,
            ConcurrentLinkedQueue<Throwable> seen) {
        try {
            InProcess.run(ranks, timeout, communicator -> {
                try {
                    body.accept(communicator);
                } catch (RankException e) {
                    seen.add(e);
                    throw e;
                }
            });
        } catch (RankException e) {
            return e;
        }
        throw new AssertionError("nothing failed");
    }

    @Example
    void aRankThatThrowsEndsTheOthersByItsName() {
        try (TestTensors tensors = new TestTensors(0)) {
            ConcurrentLinkedQueue<Throwable> seen = new ConcurrentLinkedQueue<>();
            RankException e = failure(4, LONG, ranks -> {
                if (ranks.rank() == 2) {
                    throw new IllegalStateException("out of luck");
                }
                ranks.allReduceSum(tensors.zeros("x", DType.F32, 3));
            }, seen);
            assertThat(e).hasMessageContaining("rank 2").hasMessageContaining("out of luck")
                    .hasCauseInstanceOf(IllegalStateException.class);
            assertThat(e.rank()).isEqualTo(2);
            assertThat(seen).hasSize(3).allSatisfy(t -> assertThat(t).hasMessageContaining("rank 2 failed"));
        }
    }

    @Example
    void aRankThatEndsEarlyIsNamedAtOnce() {
        RankException e = failure(3, LONG, ranks -> {
            if (ranks.rank() != 1) {
                ranks.barrier();
            }
        }, new ConcurrentLinkedQueue<>());
        assertThat(e).hasMessage("rank 1 has ended without barrier");
    }

    @Example
    void aRankThatHangsIsNamedWhenTheTimeIsOver() {
        CountDownLatch never = new CountDownLatch(1);
        ConcurrentLinkedQueue<Throwable> seen = new ConcurrentLinkedQueue<>();
        RankException e = failure(4, SHORT, ranks -> {
            if (ranks.rank() == 3) {
                hang(never);
            }
            ranks.barrier();
        }, seen);
        assertThat(e).hasMessageStartingWith("rank 3 did not come to barrier within 300 ms");
        assertThat(e.rank()).isEqualTo(3);
        assertThat(seen).hasSizeGreaterThanOrEqualTo(3);
    }

    private static void hang(CountDownLatch never) {
        try {
            never.await(60, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Example
    void aRankThatStraysIsNamed() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor x = tensors.zeros("x", DType.F32, 3);
            assertThat(failure(3, LONG, ranks -> {
                if (ranks.rank() == 0) {
                    ranks.broadcast(x, 1);
                } else {
                    ranks.allReduceSum(x);
                }
            }, new ConcurrentLinkedQueue<>()))
                    .hasMessage("rank 0 calls broadcast of x F32 [3] from rank 1 while rank 1 calls allReduceSum of x "
                            + "F32 [3]");
            assertThat(failure(3, LONG, ranks -> ranks.allReduceSum(
                    ranks.rank() == 2 ? tensors.zeros("y", DType.F32, 4) : x), new ConcurrentLinkedQueue<>()))
                    .hasMessageStartingWith("rank 2 calls allReduceSum of y F32 [4]");
            assertThat(failure(2, LONG, ranks -> {
                if (ranks.rank() == 0) {
                    ranks.send(x, 1);
                } else {
                    ranks.receive(tensors.zeros("y", DType.F64, 3), 0);
                }
            }, new ConcurrentLinkedQueue<>())).hasMessage(
                    "rank 0 sends x F32 [3] while rank 1 receives y F64 [3]");
        }
    }

    @Example
    void twoThatBothSendFirstWaitForEachOtherAndAreToldSo() {
        try (TestTensors tensors = new TestTensors(0)) {
            assertThat(failure(2, SHORT, ranks -> {
                Tensor x = tensors.zeros("x", DType.F32, 1);
                ranks.send(x, 1 - ranks.rank());
                ranks.receive(x, 1 - ranks.rank());
            }, new ConcurrentLinkedQueue<>())).hasMessageContaining("did not come to send of x F32 [1] from rank");
        }
    }

    @Example
    void wrongArgumentsAreRefusedOnEveryRank() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor x = tensors.zeros("x", DType.F32, 4, 2);
            Communicator one = Communicator.single();
            assertThatThrownBy(() -> one.broadcast(x, 1)).hasMessage("broadcast: rank 1, want 0 to 0");
            assertThatThrownBy(() -> one.send(x, 0)).hasMessageContaining("with itself");
            assertThatThrownBy(() -> one.receive(x, 1)).hasMessage("receive: rank 1, want 0 to 0");
            assertThatThrownBy(() -> one.allGather(x, tensors.zeros("y", DType.F32, 5, 2))).hasMessage(
                    "allGather: the whole is y F32 [5, 2] and a part of 1 is x F32 [4, 2], want F32 [4, 2]");
            assertThatThrownBy(() -> InProcess.run(0, LONG, ranks -> {
            })).isInstanceOf(IllegalArgumentException.class);
            assertThatThrownBy(() -> InProcess.run(2, LONG, ranks -> ranks.allReduceSum(x.slice(1, 0, 1))))
                    .hasMessageContaining("allReduceSum: x F32 [4, 1] has gaps, want none");
            assertThatThrownBy(() -> InProcess.run(2, LONG, ranks -> ranks.reduceScatterSum(x, x)))
                    .hasMessageContaining("want F32 [8, 2]");
        }
    }

    @Example
    void oneRankGathersAndScattersByCopying() {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor x = tensors.random("x", DType.F32, Values.NORMAL, 3, 2);
            Tensor y = tensors.poisoned("y", DType.F32, 3, 2);
            Communicator.single().allGather(x, y);
            assertSame(y, x);
            y.fill(Double.NaN);
            Communicator.single().reduceScatterSum(x, y);
            assertSame(y, x);
        }
    }
}
