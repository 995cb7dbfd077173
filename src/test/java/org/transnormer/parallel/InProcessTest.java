package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import net.jqwik.api.Example;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.Place;
import org.transnormer.testing.TestTensors;

/** Ranks that are threads: beside the contract, how a rank that fails, hangs or strays ends all. */
class InProcessTest implements CommunicatorContract {
    private static final Duration LONG = Duration.ofSeconds(60);
    private static final Duration SHORT = Duration.ofMillis(300);

    @Override
    public List<Integer> sizes() {
        return List.of(2, 3, 4, 8);
    }

    @Override
    public void run(int size, Body body) {
        InProcess.run(size, LONG, ranks -> body.run(ranks, Place.HOST));
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
}
