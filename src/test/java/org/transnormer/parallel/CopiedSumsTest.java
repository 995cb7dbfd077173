package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.Tag;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Graph;
import org.transnormer.cuda.NcclId;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.GpuRanks;
import org.transnormer.testing.Place;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** Sums by copies between GPUs, of ranks that are threads; turns are small, so that borders are close. */
@Tag("gpus")
class CopiedSumsTest {
    /** Of two and of three ranks a slice has more than one block of the kernel, 4 KiB; of four it has less than two. */
    private static final CopiedSums.Sizes SIZES = new CopiedSums.Sizes(4, 24 * 1024);
    private static final double BEHIND = 7;
    private static final String COPIES = "by copies between GPUs";
    private static final NcclTest NCCL = new NcclTest();
    /** By number of ranks; each has its memory full of NaN before the first test. */
    private static final Map<Integer, Nccl[]> BESIDE = new HashMap<>();

    /** A sum: a tensor behind so many elements, whose buffer goes on for one element. */
    record Sum(DType dtype, int before, int bytes) {
        int size() {
            return bytes / dtype.bytes();
        }

        Tensor in(TestTensors tensors) {
            Tensor buffer = tensors.poisoned("x", dtype, before + size() + 1L);
            buffer.set(buffer.size() - 1, BEHIND);
            return Tensor.of("x", dtype, buffer.storage(), before, size());
        }
    }

    /** @param between whether other collectives are called between sums, which see them then */
    record Case(int ranks, List<Sum> sums, Values values, boolean between, long seed) {
    }

    /** Runs the ranks; each is given its communicator beside the computation. */
    private static void run(int size, CommunicatorContract.Body body) {
        NCCL.run(size, (ranks, place) -> {
            Nccl[] beside;
            synchronized (BESIDE) {
                beside = BESIDE.computeIfAbsent(size, Nccl[]::new);
            }
            if (beside[ranks.rank()] == null) {
                beside[ranks.rank()] = ((Nccl) ranks).beside(SIZES);
                assertThat(ranks.sumsBeside()).contains(COPIES);
                poison(beside[ranks.rank()], place);
            }
            body.run(beside[ranks.rank()], place);
        });
    }

    private static void poison(Nccl ranks, Place place) {
        try (TestTensors tensors = new TestTensors(0)) {
            place.use(tensors.poisoned("nan", DType.F32, 2 * SIZES.turn()), x -> {
                ranks.collectivesAwaitCompute();
                ranks.allReduceSum(x);
                ranks.computeAwaitsCollectives();
            });
        }
    }

    @Provide
    Arbitrary<Case> cases() {
        int turn = (int) SIZES.turn();
        Arbitrary<Integer> bytes =
                Arbitraries.of(4, 12, 16, 20, 60, 64, 68, 16 * 5, 16 * 7 + 4, 256, 3 * 256 - 16, 3 * 256,
                        3 * 256 + 8, 8192 - 16, 8192, 8192 + 4, 12_300, turn - 16, turn, turn + 4, turn + 1024,
                        2 * turn + 12, 3 * turn + 2000);
        Arbitrary<Sum> sums = Combinators.combine(Arbitraries.of(DType.F32, DType.BF16), Arbitraries.of(0, 0, 1, 3, 8),
                bytes).as(Sum::new);
        return Combinators.combine(Arbitraries.of(NCCL.sizes()), sums.list().ofMinSize(1).ofMaxSize(8),
                Arbitraries.of(Values.NORMAL, Values.OFFSET, Values.LARGE), Arbitraries.of(true, false),
                Arbitraries.longs()).as(Case::new);
    }

    /** F32 additions in the order of the ranks, rounded once to the type. */
    private static Tensor sum(TestTensors tensors, List<Tensor> all) {
        Tensor sum = tensors.copy(all.getFirst(), all.getFirst().dtype());
        for (long i = 0; i < sum.size(); i++) {
            float s = (float) all.getFirst().getFlat(i);
            for (Tensor t : all.subList(1, all.size())) {
                s += (float) t.getFlat(i);
            }
            sum.setFlat(i, s);
        }
        return sum;
    }

    private static void assertSame(Tensor got, Tensor want) {
        for (long i = 0; i < want.size(); i++) {
            assertThat(Double.doubleToLongBits(got.getFlat(i))).as("%s[%d] = %s, want %s", got, i, got.getFlat(i),
                    want.getFlat(i)).isEqualTo(Double.doubleToLongBits(want.getFlat(i)));
        }
        assertThat(Tensor.of("behind", got.dtype(), got.storage(), got.offset() + got.size(), 1).get(0)).isEqualTo(
                BEHIND);
    }

    /** Sums one behind the other, with other collectives between: what one leaves behind is not seen by the next. */
    @Property(tries = 60)
    void everyRankHasTheSumInTheOrderOfTheRanks(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            List<List<Tensor>> perRank = new ArrayList<>();
            for (int r = 0; r < c.ranks; r++) {
                perRank.add(c.sums.stream().map(s -> tensors.fill(s.in(tensors), c.values)).toList());
            }
            List<Tensor> want = IntStream.range(0, c.sums.size())
                    .mapToObj(i -> sum(tensors, perRank.stream().map(all -> all.get(i)).toList())).toList();
            run(c.ranks, (ranks, place) -> {
                List<Tensor> mine = new ArrayList<>(perRank.get(ranks.rank()));
                mine.add(TestTensors.numbers(ranks.rank() + 1));
                place.use(mine, at -> {
                    ranks.collectivesAwaitCompute();
                    for (Tensor x : at.subList(0, c.sums.size())) {
                        ranks.allReduceSum(x);
                        if (c.between) {
                            ranks.broadcast(at.getLast(), 0);
                        }
                    }
                    ranks.broadcast(at.getLast(), 0);
                    ranks.computeAwaitsCollectives();
                });
                assertThat(mine.getLast().get(0)).isEqualTo(1);
            });
            perRank.forEach(mine -> IntStream.range(0, want.size()).forEach(i -> assertSame(mine.get(i), want.get(i))));
        }
    }

    /** -0, NaN, infinities, and what is too large or too small: as additions in the order of the ranks have it. */
    @Example
    void additionsAreThoseOfTheStandard() {
        float[][] parts = {{-0f, 1, Float.POSITIVE_INFINITY, Float.POSITIVE_INFINITY, Float.MAX_VALUE, Float.MIN_VALUE},
            {-0f, Float.NaN, Float.NEGATIVE_INFINITY, 1, Float.MAX_VALUE, Float.MIN_VALUE}};
        for (int size : NCCL.sizes()) {
            for (DType dtype : List.of(DType.F32, DType.BF16)) {
                for (int before : new int[] {0, 1}) {
                    run(size, (ranks, place) -> {
                        try (TestTensors tensors = new TestTensors(0)) {
                            List<Tensor> all = IntStream.range(0, size)
                                    .mapToObj(r -> repeated(new Sum(dtype, before, 12_000).in(tensors), parts[r % 2]))
                                    .toList();
                            Tensor want = sum(tensors, all);
                            Tensor got = all.get(ranks.rank());
                            place.use(got, x -> {
                                ranks.collectivesAwaitCompute();
                                ranks.allReduceSum(x);
                                ranks.computeAwaitsCollectives();
                            });
                            assertSame(got, want);
                        }
                    });
                }
            }
        }
    }

    private static Tensor repeated(Tensor x, float[] values) {
        for (int i = 0; i < x.size(); i++) {
            x.set(i, values[i % values.length]);
        }
        return x;
    }

    /** Each is awaited, and read, some calls later, while later ones are under way. */
    @Example
    void aSumThatIsAwaitedLateIsThereThen() {
        for (int size : NCCL.sizes()) {
            for (int late = 0; late <= Communicator.MOST_UNAWAITED; late++) {
                awaitLate(size, late);
            }
        }
    }

    private static void awaitLate(int size, int late) {
        int calls = 9;
        run(size, (ranks, place) -> {
            try (TestTensors tensors = new TestTensors(0)) {
                List<Tensor> all = new ArrayList<>();
                for (int i = 0; i < 2 * calls; i++) {
                    all.add(tensors.zeros("x", DType.F32, 700));
                    all.getLast().fill(i < calls ? i + 1 + ranks.rank() : Double.NaN);
                }
                place.use(all, at -> {
                    for (int i = 0; i < calls; i++) {
                        ranks.collectivesAwaitCompute();
                        ranks.allReduceSum(at.get(i));
                        ranks.computeAwaitsCollectives(late);
                        if (i >= late) {
                            at.get(calls + i - late).copyFrom(at.get(i - late));
                        }
                    }
                    ranks.computeAwaitsCollectives();
                });
                for (int i = 0; i < calls; i++) {
                    double want = size * (i + 1) + size * (size - 1) / 2.0;
                    assertThat(all.get(i).get(699)).isEqualTo(want);
                    if (i < calls - late) {
                        assertThat(all.get(calls + i).get(699)).isEqualTo(want);
                    }
                }
            }
        });
    }

    /** Sums of three tensors, 0 to 2 and again as 3 to 5; what is awaited when, and what is between, do not matter. */
    @Property(tries = 60)
    void sumsFollowEachOther(@ForAll @Size(min = 1, max = 24) List<@IntRange(max = 9) Integer> program) {
        for (int size : NCCL.sizes()) {
            run(size, (ranks, place) -> {
                try (TestTensors tensors = new TestTensors(0)) {
                    List<Tensor> all = new ArrayList<>();
                    for (int i = 0; i < 4; i++) {
                        all.add(tensors.zeros("x", DType.F32, 700));
                        all.getLast().fill(i + 1 + ranks.rank());
                    }
                    place.use(all, at -> {
                        ranks.collectivesAwaitCompute();
                        Tensor same = at.getLast();
                        for (int what : program) {
                            switch (what) {
                                case 6 -> ranks.collectivesAwaitCompute();
                                case 7 -> ranks.computeAwaitsCollectives(1);
                                case 8 -> ranks.computeAwaitsCollectives();
                                case 9 -> ranks.broadcast(same, 0);
                                default -> {
                                    same = at.get(what % 3);
                                    ranks.allReduceSum(same);
                                }
                            }
                        }
                        ranks.computeAwaitsCollectives();
                    });
                    for (int i = 0; i < 3; i++) {
                        int tensor = i;
                        long sums = program.stream().filter(what -> what < 6 && what % 3 == tensor).count();
                        assertThat(all.get(i).get(699)).isEqualTo(sums == 0 ? i + 1 + ranks.rank()
                                : sumsOfEqual(size * (i + 1) + size * (size - 1) / 2.0f, size, sums - 1));
                    }
                }
            });
        }
    }

    /** So many sums over ranks that all have the same. */
    private static double sumsOfEqual(float x, int size, long sums) {
        float all = x;
        for (long i = 0; i < sums; i++) {
            float one = all;
            for (int rank = 1; rank < size; rank++) {
                all += one;
            }
        }
        return all;
    }

    /** Without its being awaited. */
    @Example
    void aSumIsSummedAgain() {
        for (int size : NCCL.sizes()) {
            run(size, (ranks, place) -> {
                try (TestTensors tensors = new TestTensors(0)) {
                    Tensor x = tensors.zeros("x", DType.F32, 700);
                    x.fill(ranks.rank() + 1);
                    place.use(x, at -> {
                        ranks.collectivesAwaitCompute();
                        for (int i = 0; i < 3; i++) {
                            ranks.allReduceSum(at);
                        }
                        ranks.computeAwaitsCollectives();
                    });
                    assertThat(x.get(699)).isEqualTo(size * (size + 1) / 2.0 * size * size);
                }
            });
        }
    }

    /** Every sum but the first adds what the one before left, and what computation added to that. */
    @Example
    void sumsWaitForTheComputationAndTheReverse() {
        int n = 5000;
        for (int size : NCCL.sizes()) {
            run(size, (ranks, place) -> {
                try (TestTensors tensors = new TestTensors(ranks.rank())) {
                    Tensor x = tensors.zeros("x", DType.F32, n);
                    Tensor y = tensors.zeros("y", DType.F32, n);
                    x.fill(ranks.rank() + 1);
                    place.use(x, y, (from, to) -> {
                        for (int i = 0; i < 4; i++) {
                            to.copyFrom(from);
                            ranks.collectivesAwaitCompute();
                            ranks.allReduceSum(to);
                            ranks.computeAwaitsCollectives();
                            from.copyFrom(to);
                        }
                    });
                    double want = size * (size + 1) / 2.0 * Math.pow(size, 3);
                    for (int i = 0; i < n; i++) {
                        assertThat(x.get(i)).isEqualTo(want);
                    }
                }
            });
        }
    }

    @Example
    void otherTypesAndSmallTensorsAreSummedAllTheSame() {
        run(2, (ranks, place) -> {
            for (DType dtype : DType.values()) {
                for (int n : new int[] {1, 1000}) {
                    try (TestTensors tensors = new TestTensors(0)) {
                        Tensor x = tensors.zeros("x", dtype, n);
                        x.fill(ranks.rank() + 1);
                        place.use(x, at -> {
                            ranks.collectivesAwaitCompute();
                            ranks.allReduceSum(at);
                            ranks.computeAwaitsCollectives();
                        });
                        assertThat(x.getFlat(n - 1)).isEqualTo(3);
                    }
                }
            }
        });
    }

    /** What is recorded runs again and again, on what its tensors hold then, with sums by copies between. */
    @Example
    void aRecordedSumIsRightEachTimeItRuns() {
        int n = 5000;
        run(2, (ranks, place) -> {
            Gpu gpu = NcclTest.gpu(2, ranks.rank());
            try (TestTensors tensors = new TestTensors(0)) {
                Tensor x = tensors.zeros("x", DType.F32, n);
                Tensor y = tensors.zeros("y", DType.F32, n);
                x.fill(ranks.rank() + 1);
                y.fill(1);
                place.use(x, y, (recorded, other) -> {
                    try (Graph graph = gpu.stream().capture(() -> {
                        ranks.collectivesAwaitCompute();
                        ranks.allReduceSum(recorded);
                        ranks.computeAwaitsCollectives();
                    })) {
                        for (int i = 0; i < 3; i++) {
                            graph.launch(gpu.stream());
                            ranks.collectivesAwaitCompute();
                            ranks.allReduceSum(other);
                            ranks.allReduceSum(recorded);
                            ranks.computeAwaitsCollectives();
                        }
                        gpu.stream().synchronize();
                    }
                });
                for (int i = 0; i < n; i++) {
                    assertThat(x.get(i)).isEqualTo(3 * 32);
                    assertThat(y.get(i)).isEqualTo(8);
                }
            }
        });
    }

    /** A rank that is done keeps its memory until the others are, and one whose others are done does not wait. */
    @Example
    void ranksEndTogether() {
        NcclId id = NcclId.create();
        AtomicBoolean ending = new AtomicBoolean();
        GpuRanks.run(2, r -> {
            Gpu gpu = Gpu.open(r);
            Nccl ranks = Nccl.join(gpu, id, r, 2).beside(SIZES);
            Place.on(gpu).use(TestTensors.numbers(new double[1000]), x -> {
                Tensor sums = Tensor.of("sums", DType.F32, x.storage(), 0, 2000);
                ranks.collectivesAwaitCompute();
                for (int i = 0; i < 20; i++) {
                    ranks.allReduceSum(sums);
                }
                ranks.computeAwaitsCollectives();
            });
            if (r == 0) {
                sleep();
                ending.set(true);
            }
            long begin = System.nanoTime();
            gpu.close();
            assertThat(ending).isTrue();
            if (r == 0) {
                assertThat(System.nanoTime() - begin).isLessThan(1_900_000_000L);
            }
        });
    }

    private static void sleep() {
        try {
            Thread.sleep(300);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Example
    void oneRankThatWantsNcclIsEnough() {
        NcclId id = NcclId.create();
        System.setProperty("tnl.nccl.only", "");
        try {
            GpuRanks.run(2, r -> {
                try (Gpu gpu = Gpu.open(r)) {
                    Nccl ranks = Nccl.join(gpu, id, r, 2);
                    Nccl beside = ranks.beside();
                    assertThat(ranks.sumsBeside()).contains("by NCCL: rank 0 has -Dtnl.nccl.only");
                    Tensor x = TestTensors.numbers(new double[1 << 18]);
                    x.fill(r + 1);
                    Place.on(gpu).use(x, at -> {
                        beside.collectivesAwaitCompute();
                        beside.allReduceSum(at);
                        beside.computeAwaitsCollectives();
                    });
                    assertThat(x.get(17)).isEqualTo(3);
                }
            });
        } finally {
            System.clearProperty("tnl.nccl.only");
        }
    }
}
