package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.Tag;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.NcclComm;
import org.transnormer.cuda.NcclId;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.GpuRanks;
import org.transnormer.testing.Place;
import org.transnormer.testing.TestTensors;

/** Ranks that are threads with a GPU each: the collectives of NCCL. */
@Tag("gpus")
class NcclTest implements CommunicatorContract {
    /** By number of ranks; joining takes longer than all that a test does with it. */
    private static final Map<Integer, Nccl[]> JOINED = new HashMap<>();
    private static final Map<Integer, Gpu[]> GPUS = new HashMap<>();

    @Override
    public List<Integer> sizes() {
        GpuRanks.require(2);
        return IntStream.rangeClosed(2, Math.min(4, GpuRanks.count())).boxed().toList();
    }

    @Override
    public void run(int size, Body body) {
        Nccl[] ranks = joined(size);
        Gpu[] gpus = GPUS.get(size);
        GpuRanks.run(size, r -> {
            gpus[r].context().use();
            body.run(ranks[r], Place.on(gpus[r]));
        });
    }

    private static Nccl[] joined(int size) {
        return JOINED.computeIfAbsent(size, _ -> {
            NcclId id = NcclId.create();
            Nccl[] ranks = new Nccl[size];
            Gpu[] gpus = new Gpu[size];
            GPUS.put(size, gpus);
            GpuRanks.run(size, r -> {
                gpus[r] = Gpu.open(r);
                ranks[r] = Nccl.join(gpus[r], NcclId.of(id.bytes()), r, size);
            });
            return ranks;
        });
    }

    /** Of a rank that {@link #run} has joined. */
    static Gpu gpu(int size, int rank) {
        return GPUS.get(size)[rank];
    }

    /** Of two numbers there is one order, and of those of a type one rounding. */
    @Override
    public boolean inOrder(int size) {
        return size == 2;
    }

    @Example
    void ranksKnowTheirNumbers() {
        for (int size : sizes()) {
            run(size, (ranks, _) -> assertThat(ranks.size()).isEqualTo(size));
            Nccl[] ranks = joined(size);
            for (int r = 0; r < size; r++) {
                assertThat(ranks[r].rank()).isEqualTo(r);
            }
        }
    }

    /** What is enqueued before a collective comes before it, what is enqueued after it after it. */
    @Example
    void collectivesAreInTheOrderOfTheComputation() {
        int n = 1 << 20;
        run(2, (ranks, place) -> {
            try (TestTensors tensors = new TestTensors(ranks.rank())) {
                Tensor x = tensors.zeros("x", DType.F32, n);
                Tensor y = tensors.zeros("y", DType.F32, n);
                x.fill(ranks.rank() + 1);
                place.use(x, y, (at, to) -> {
                    for (int i = 0; i < 4; i++) {
                        to.copyFrom(at);
                        ranks.allReduceSum(to);
                        at.copyFrom(to);
                    }
                });
                for (int i = 0; i < n; i++) {
                    assertThat(x.get(i)).isEqualTo(24);
                }
            }
        });
    }

    @Example
    void everyCollectiveIsAnnounced() {
        NcclId id = NcclId.create();
        GpuRanks.run(2, r -> {
            AtomicInteger begun = new AtomicInteger();
            try (Gpu gpu = Gpu.open(r)) {
                Nccl ranks = Nccl.join(gpu, id, r, 2, begun::incrementAndGet).beside().split(0);
                Tensor x = TestTensors.numbers(1, 2);
                Tensor y = TestTensors.numbers(1, 2, 3, 4);
                Place.on(gpu).use(x, y, (part, whole) -> {
                    ranks.allReduceSum(part);
                    ranks.allReduceMax(part);
                    ranks.broadcast(part, 1);
                    ranks.allGather(part, whole);
                    ranks.reduceScatterSum(whole, part);
                    if (r == 0) {
                        ranks.send(part, 1);
                    } else {
                        ranks.receive(part, 0);
                    }
                    ranks.barrier();
                });
            }
            assertThat(begun).hasValue(7);
        });
    }

    /** NaN is in a sum; of a maximum NCCL says nothing. */
    @Example
    void nanIsInASum() {
        run(2, (ranks, place) -> {
            Tensor x = TestTensors.numbers(ranks.rank() == 1 ? Double.NaN : 1, Double.NEGATIVE_INFINITY);
            Tensor y = TestTensors.numbers(Double.NEGATIVE_INFINITY, ranks.rank());
            place.use(x, ranks::allReduceSum);
            place.use(y, ranks::allReduceMax);
            assertThat(x.get(0)).isNaN();
            assertThat(x.get(1)).isEqualTo(Double.NEGATIVE_INFINITY);
            assertThat(y.get(0)).isEqualTo(Double.NEGATIVE_INFINITY);
            assertThat(y.get(1)).isEqualTo(1);
        });
    }

    /** Two that give each other something at once do it as a group. */
    @Example
    void aGroupSendsAndReceivesAtOnce() {
        Gpu[] gpus = new Gpu[2];
        NcclId id = NcclId.create();
        GpuRanks.run(2, r -> {
            gpus[r] = Gpu.open(r);
            NcclComm comm = NcclComm.join(gpus[r].context(), id, r, 2);
            Tensor x = TestTensors.numbers(new double[1000]);
            Tensor y = TestTensors.numbers(new double[1000]);
            x.fill(r + 1);
            Place.on(gpus[r]).use(x, y, (at, to) -> NcclComm.group(() -> {
                comm.send(gpus[r].stream(), DevicePtr.of(at), 1000, DType.F64, 1 - r);
                comm.receive(gpus[r].stream(), DevicePtr.of(to), 1000, DType.F64, 1 - r);
            }));
            comm.checkAsynchronous();
            assertThat(y.get(999)).isEqualTo(2 - r);
            gpus[r].close();
        });
    }

    @Example
    void wrongArgumentsAreRefused() {
        run(2, (ranks, place) -> {
            Tensor x = TestTensors.numbers(1, 2, 3, 4).reshape(2, 2);
            place.use(x, at -> {
                assertThatThrownBy(() -> ranks.allReduceSum(at.slice(1, 0, 1))).hasMessageContaining("has gaps");
                assertThatThrownBy(() -> ranks.broadcast(at, 2)).hasMessage("broadcast: rank 2, want 0 to 1");
                assertThatThrownBy(() -> ranks.send(at, ranks.rank())).hasMessageContaining("with itself");
                assertThatThrownBy(() -> ranks.allGather(at, at)).hasMessageContaining("want F64 [4, 2]");
            });
            assertThatThrownBy(() -> ranks.allReduceSum(x)).hasMessageContaining("does not lie in device memory");
        });
    }
}
