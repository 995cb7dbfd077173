package org.transnormer.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.InputException;
import org.transnormer.lightning.Border;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tokenizer.ByteTokenizer;

class TrainingBatchesTest {

    @Property(tries = 60)
    void anEpochTakesNoPairTwiceAndLeavesOutLessThanARow(@ForAll long seed,
            @ForAll @IntRange(min = 1, max = 12) int count,
            @ForAll @IntRange(min = 1, max = 40) int longest, @ForAll @IntRange(min = 1, max = 30) int length) {
        TokenDataset data = data(seed, count, longest);
        if (data.pairs() < length) {
            return;
        }
        TrainingBatches batches = new TrainingBatches(data, 1, length, seed);
        long rows = data.pairs() / length;
        Set<List<Integer>> seen = new HashSet<>();
        for (long row = 0; row < 3 * rows; row++) {
            if (row % rows == 0) {
                seen.clear();
            }
            Batch batch = Batch.next(batches);
            assertThat(batch.counted()).isEqualTo(length);
            for (Batch.Run run : batch.runs()) {
                assertThat(run.start()).isZero();
                assertThat(run.slot()).isEqualTo(Sequences.NO_SLOT);
                for (int i = 0; i < run.inputs().size(); i++) {
                    assertThat(seen.add(pair(run, i))).as("pair %s is new", pair(run, i)).isTrue();
                }
            }
        }
        assertThat(data.pairs() - seen.size()).isBetween(0L, length - 1L);
        assertThat(pairs(data)).containsAll(seen);
    }

    @Property(tries = 60)
    void aSequenceIsAStretchOfOneDocumentAndEndsOnlyAtItsEndOrTheRows(@ForAll long seed,
            @ForAll @IntRange(min = 1, max = 12) int count, @ForAll @IntRange(min = 1, max = 20) int longest) {
        int length = 8;
        TokenDataset data = data(seed, count, longest);
        if (data.pairs() < length) {
            return;
        }
        TrainingBatches batches = new TrainingBatches(data, 3, length, seed);
        for (int step = 0; step < 10; step++) {
            int filled = 0;
            for (Batch.Run run : Batch.next(batches).runs()) {
                int size = run.inputs().size();
                assertThat(run.inputs().subList(1, size)).isEqualTo(run.targets().subList(0, size - 1));
                assertThat(run.inputs().subList(1, size)).doesNotContain(WideTokenizer.BOS);
                assertThat(run.targets().subList(0, size - 1)).doesNotContain(WideTokenizer.EOS);
                if (filled % length > 0) {
                    assertThat(run.inputs().getFirst()).isEqualTo(WideTokenizer.BOS);
                }
                filled += size;
                assertThat((filled - size) / length).as("row").isEqualTo((filled - 1) / length);
                if (filled % length > 0) {
                    assertThat(run.targets().getLast()).isEqualTo(WideTokenizer.EOS);
                }
            }
        }
    }

    @Property(tries = 40)
    void thePositionIsTheWholeState(@ForAll long seed, @ForAll @IntRange(max = 30) int taken,
            @ForAll @IntRange(min = 1, max = 4) int rows) {
        TokenDataset data = data(7, 9, 20);
        TrainingBatches through = new TrainingBatches(data, 1, 6, seed);
        through.seek(taken);
        TrainingBatches resumed = new TrainingBatches(data(7, 9, 20), rows, 6, seed);
        resumed.seek(taken);
        for (int step = 0; step < 12; step++) {
            List<Batch.Run> want = new ArrayList<>();
            for (int row = 0; row < rows; row++) {
                want.addAll(Batch.next(through).runs());
            }
            assertThat(Batch.next(resumed).runs()).isEqualTo(want);
            assertThat(resumed.position()).isEqualTo(through.position());
        }
        resumed.seek(taken);
        through.seek(taken);
        assertThat(Batch.next(resumed).runs().getFirst()).isEqualTo(Batch.next(through).runs().getFirst());
    }

    /** Rank r of N takes rows r, r + N, … of what one takes, and all agree on the position. */
    @Property(tries = 40)
    void ranksShareTheRowsOfOne(@ForAll long seed, @ForAll @IntRange(max = 30) int taken,
            @ForAll @IntRange(min = 1, max = 3) int rows, @ForAll @IntRange(min = 1, max = 4) int ranks) {
        TrainingBatches one = new TrainingBatches(data(7, 9, 20), 1, 6, seed);
        one.seek(taken);
        List<TrainingBatches> several = IntStream.range(0, ranks).mapToObj(
                rank -> new TrainingBatches(data(7, 9, 20), rows, 6, seed, rank, ranks)).toList();
        several.forEach(rank -> rank.seek(taken));
        for (int step = 0; step < 6; step++) {
            List<List<Batch.Run>> want = new ArrayList<>();
            for (int rank = 0; rank < ranks; rank++) {
                want.add(new ArrayList<>());
            }
            for (int row = 0; row < rows * ranks; row++) {
                want.get(row % ranks).addAll(Batch.next(one).runs());
            }
            for (int rank = 0; rank < ranks; rank++) {
                assertThat(Batch.next(several.get(rank)).runs()).isEqualTo(want.get(rank));
                assertThat(several.get(rank).position()).isEqualTo(one.position());
            }
        }
    }

    /**
     * Parts of rows, joined where one rank's slot says that a sequence goes out and the next one's that it comes in, are the
     * rows: tokens, targets, positions. Documents begin and end inside parts and at their borders.
     */
    @Property(tries = 60)
    void partsOfRowsAreTheRows(@ForAll long seed, @ForAll @IntRange(min = 1, max = 3) int rows,
            @ForAll @IntRange(min = 1, max = 4) int parts, @ForAll @IntRange(min = 1, max = 6) int part) {
        int length = parts * part;
        TokenDataset data = data(seed, 9, 20);
        if (data.pairs() < length) {
            return;
        }
        TrainingBatches one = new TrainingBatches(data, rows, length, seed);
        List<TrainingBatches> several = IntStream.range(0, parts).mapToObj(p -> new TrainingBatches(data,
                new Border(rows, p, parts), length, seed, 0, 1)).toList();
        for (int step = 0; step < 4; step++) {
            List<Batch.Run> joined = new ArrayList<>();
            List<List<List<Batch.Run>>> byPart = several.stream().map(s -> byRow(Batch.next(s).runs(), part)).toList();
            for (int row = 0; row < rows; row++) {
                boolean open = false;
                for (int p = 0; p < parts; p++) {
                    Border border = new Border(rows, p, parts);
                    for (Batch.Run run : byPart.get(p).get(row)) {
                        boolean in = border.before() && run.slot() >= 0 && !border.onlyOut(run.slot());
                        boolean out = border.behind() && run.slot() >= 0 && !border.onlyIn(run.slot());
                        assertThat(in).isEqualTo(open);
                        assertThat(run.slot()).isEqualTo(border.slot(row, in, out)).isLessThan(border.slots());
                        joined.add(in ? join(joined.removeLast(), run) : run);
                        open = out;
                    }
                }
                assertThat(open).isFalse();
            }
            assertThat(joined.stream().map(run -> new Batch.Run(run.start(), Sequences.NO_SLOT, run.inputs(),
                    run.targets())).toList()).isEqualTo(Batch.next(one).runs());
            several.forEach(s -> assertThat(s.position()).isEqualTo(one.position()));
        }
    }

    private static List<List<Batch.Run>> byRow(List<Batch.Run> runs, int length) {
        List<List<Batch.Run>> rows = new ArrayList<>();
        int filled = 0;
        for (Batch.Run run : runs) {
            if (filled % length == 0) {
                rows.add(new ArrayList<>());
            }
            rows.getLast().add(run);
            filled += run.inputs().size();
        }
        return rows;
    }

    private static Batch.Run join(Batch.Run before, Batch.Run behind) {
        assertThat(behind.start()).isEqualTo(before.start() + before.inputs().size());
        List<Integer> inputs = new ArrayList<>(before.inputs());
        List<Integer> targets = new ArrayList<>(before.targets());
        inputs.addAll(behind.inputs());
        targets.addAll(behind.targets());
        return new Batch.Run(before.start(), before.slot(), inputs, targets);
    }

    @Example
    void aRowThatHasNoEqualPartsIsRefused() {
        assertThatThrownBy(() -> new TrainingBatches(data(1, 2, 9), new Border(1, 0, 3), 4, 0, 0, 1))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("a row of 4 tokens has no 3 equal parts: give a multiple of 3");
    }

    @Example
    void seedsAndEpochsDifferInOrderAndInCuts() {
        TokenDataset data = data(3, 1, 400);
        int rows = (int) (data.pairs() / 5);
        Set<List<Batch.Run>> orders = new HashSet<>();
        Set<Integer> cuts = new HashSet<>();
        for (long seed = 0; seed < 3; seed++) {
            TrainingBatches batches = new TrainingBatches(data, rows, 5, seed);
            for (int epoch = 0; epoch < 4; epoch++) {
                List<Batch.Run> order = Batch.next(batches).runs();
                orders.add(order);
                order.stream().filter(run -> run.inputs().size() == 5)
                        .forEach(run -> cuts.add(run.targets().getFirst() % 5));
            }
            assertThat(batches.epochs()).isEqualTo(4);
        }
        assertThat(orders).hasSize(12);
        assertThat(cuts).hasSizeGreaterThan(2);
    }

    @Example
    void theRowsOfAnEpochAreShuffled() {
        TokenDataset data = data(3, 1, 4000);
        int length = 4;
        TrainingBatches batches = new TrainingBatches(data, (int) (data.pairs() / length), length, 0);
        int[] firsts = Batch.next(batches).runs().stream().filter(run -> run.inputs().size() == length)
                .mapToInt(run -> run.targets().getFirst()).toArray();
        long inRingOrder = IntStream.range(1, firsts.length).filter(i -> firsts[i] == firsts[i - 1] + length).count();
        assertThat(firsts.length).isGreaterThan(100);
        assertThat(inRingOrder).isLessThan(firsts.length / 20);
    }

    @Example
    void aKnownBatch() {
        TokenDataset data = TokenDataset.of(new ByteTokenizer(),
                List.of(new Document("a", "ab".getBytes(StandardCharsets.UTF_8))));
        Batch batch = Batch.next(new TrainingBatches(data, 1, 3, 0));
        List<Integer> targets = new ArrayList<>();
        batch.runs().forEach(run -> targets.addAll(run.targets()));
        assertThat(targets).containsExactlyInAnyOrder(100, 101, 2);
        assertThat(batch.runs().getFirst().inputs()).doesNotContain(2);
    }

    @Example
    void tooLittleTextForARowIsRefusedWithACure() {
        TokenDataset data = data(1, 2, 3);
        assertThatThrownBy(() -> new TrainingBatches(data, 1, data.pairs() + 1, 0)).isInstanceOf(InputException.class)
                .hasMessageContainingAll(Long.toString(data.pairs()), "smaller sequence length");
        assertThat(Batch.next(new TrainingBatches(data, 2, data.pairs(), 0)).counted()).isEqualTo(2 * data.pairs());
    }

    @Example
    void thereIsNoRankBeyondTheLast() {
        TokenDataset data = data(1, 2, 9);
        assertThatThrownBy(() -> new TrainingBatches(data, 1, 2, 0, 2, 2)).isInstanceOf(IllegalArgumentException.class)
                .hasMessage("there is no rank 2 of 2");
    }

    @Example
    void tensorsOfAnotherSizeAreRefused() {
        TrainingBatches batches = new TrainingBatches(data(1, 2, 9), 2, 2, 0);
        try (HostMemory memory = new HostMemory()) {
            Tensor five = memory.allocate(MemoryKind.DATA, "five", DType.I32, 5);
            assertThatThrownBy(() -> batches.next(five, five, Sequences.allocate(memory, 9, 9)))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContainingAll("five", "[4]");
        }
        assertThat(batches.position()).isZero();
    }

    private static TokenDataset data(long seed, int count, int longest) {
        return TokenDataset.of(new WideTokenizer(), WideTokenizer.documents(seed, count, longest));
    }

    private static List<Integer> pair(Batch.Run run, int i) {
        return List.of(run.inputs().get(i), run.targets().get(i));
    }

    private static Set<List<Integer>> pairs(TokenDataset data) {
        Set<List<Integer>> pairs = new HashSet<>();
        EvaluationBatches all = EvaluationBatches.windows(data, 1, data.pairs());
        for (Batch.Run run : Batch.next(all).runs()) {
            for (int i = 0; i < run.inputs().size(); i++) {
                pairs.add(pair(run, i));
            }
        }
        return pairs;
    }
}
