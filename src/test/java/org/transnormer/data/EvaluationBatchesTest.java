package org.transnormer.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.lightning.Sequences;
import org.transnormer.loss.CrossEntropy;

class EvaluationBatchesTest {

    @Property(tries = 80)
    void everyTokenAndEveryEndIsPredictedOnce(@ForAll long seed, @ForAll @IntRange(min = 1, max = 12) int count,
            @ForAll @IntRange(min = 1, max = 40) int longest, @ForAll @IntRange(min = 1, max = 30) int length,
            @ForAll @IntRange(min = 1, max = 4) int rows, @ForAll boolean carry) {
        List<Document> documents = WideTokenizer.documents(seed, count, longest);
        TokenDataset data = TokenDataset.of(new WideTokenizer(), documents);
        List<Integer> want = new ArrayList<>();
        for (Document document : documents) {
            new WideTokenizer().encode(document.bytes(), want::add);
            want.add(WideTokenizer.EOS);
        }
        List<Integer> got = new ArrayList<>();
        EvaluationBatches batches = carry ? EvaluationBatches.carried(data, rows, length)
                : EvaluationBatches.windows(data, rows, length);
        for (Batch batch = Batch.next(batches); batch != null; batch = Batch.next(batches)) {
            List<Integer> targets = new ArrayList<>();
            batch.runs().forEach(run -> targets.addAll(run.targets()));
            targets.removeIf(target -> target == CrossEntropy.IGNORE);
            assertThat((long) targets.size()).isEqualTo(batch.counted());
            got.addAll(targets);
        }
        assertThat(got).containsExactlyInAnyOrderElementsOf(want);
        assertThat((long) got.size()).isEqualTo(data.pairs());
        assertThat(Batch.next(batches)).isNull();
        batches.restart();
        assertThat(Batch.next(batches)).isNotNull();
    }

    @Property(tries = 80)
    void aStateCarriedThroughTheSlotsSeesWholeDocuments(@ForAll long seed,
            @ForAll @IntRange(min = 1, max = 12) int count,
            @ForAll @IntRange(min = 1, max = 40) int longest, @ForAll @IntRange(min = 1, max = 12) int length,
            @ForAll @IntRange(min = 1, max = 4) int rows) {
        List<Document> documents = WideTokenizer.documents(seed, count, longest);
        Map<Integer, String> want = new HashMap<>();
        for (Document document : documents) {
            List<Integer> tokens = new ArrayList<>();
            new WideTokenizer().encode(document.bytes(), tokens::add);
            long state = 0;
            int input = WideTokenizer.BOS;
            for (int i = 0; i < tokens.size(); i++) {
                state = 31 * state + input;
                input = tokens.get(i);
                want.put(input, i + " " + state);
            }
        }
        EvaluationBatches batches =
                EvaluationBatches.carried(TokenDataset.of(new WideTokenizer(), documents), rows, length);
        assertThat(batches.slots()).isEqualTo(rows);
        long[] states = new long[rows];
        Map<Integer, String> got = new HashMap<>();
        for (Batch batch = Batch.next(batches); batch != null; batch = Batch.next(batches)) {
            Set<Integer> slots = new HashSet<>();
            for (Batch.Run run : batch.runs()) {
                boolean slot = run.slot() != Sequences.NO_SLOT;
                assertThat(!slot || slots.add(run.slot())).as("slot %d once a batch", run.slot()).isTrue();
                assertThat(run.inputs().size()).isLessThanOrEqualTo(
                        run.targets().getFirst() == CrossEntropy.IGNORE ? Integer.MAX_VALUE : length);
                long state = slot && run.start() > 0 ? states[run.slot()] : 0;
                for (int i = 0; i < run.inputs().size(); i++) {
                    state = 31 * state + run.inputs().get(i);
                    if (run.targets().get(i) >= WideTokenizer.FIRST) {
                        got.put(run.targets().get(i), run.start() + i + " " + state);
                    }
                }
                if (slot) {
                    states[run.slot()] = state;
                }
            }
        }
        assertThat(got).isEqualTo(want);
    }

    @Property(tries = 40)
    void windowsAreCutFromTheBeginningOfTheDocumentWhateverTheBatch(@ForAll long seed,
            @ForAll @IntRange(min = 1, max = 12) int length, @ForAll @IntRange(min = 1, max = 5) int rows) {
        TokenDataset data = TokenDataset.of(new WideTokenizer(), WideTokenizer.documents(seed, 8, 40));
        assertThat(windows(data, rows, length)).isEqualTo(windows(data, 1, length));
        assertThat(EvaluationBatches.windows(data, rows, length).slots()).isZero();
    }

    @Example
    void shortDocumentsArePackedInOrderAndTheRestIsPadding() {
        TokenDataset data = TokenDataset.of(new WideTokenizer(), WideTokenizer.documents(5, 3, 1));
        List<Batch.Run> runs = Batch.next(EvaluationBatches.carried(data, 2, 4)).runs();
        assertThat(runs).extracting(Batch.Run::slot).containsOnly(Sequences.NO_SLOT);
        assertThat(runs).extracting(Batch.Run::targets).containsExactly(List.of(WideTokenizer.FIRST, WideTokenizer.EOS),
                List.of(WideTokenizer.FIRST + 1, WideTokenizer.EOS),
                List.of(WideTokenizer.FIRST + 2, WideTokenizer.EOS),
                List.of(CrossEntropy.IGNORE, CrossEntropy.IGNORE));
        assertThat(runs.getLast().inputs()).containsOnly(WideTokenizer.PAD);
    }

    /** Pieces, joined where a slot carries a state on, are windows. */
    @Property(tries = 60)
    void piecesOfWindowsAreTheWindows(@ForAll long seed, @ForAll @IntRange(min = 1, max = 12) int count,
            @ForAll @IntRange(min = 1, max = 40) int longest, @ForAll @IntRange(min = 1, max = 6) int length,
            @ForAll @IntRange(min = 1, max = 4) int pieces, @ForAll @IntRange(min = 1, max = 4) int rows) {
        TokenDataset data = TokenDataset.of(new WideTokenizer(), WideTokenizer.documents(seed, count, longest));
        EvaluationBatches batches = EvaluationBatches.pieces(data, rows, length, pieces);
        Map<Integer, Batch.Run> open = new HashMap<>();
        Set<Batch.Run> joined = new HashSet<>();
        for (Batch batch = Batch.next(batches); batch != null; batch = Batch.next(batches)) {
            for (Batch.Run run : batch.runs()) {
                Batch.Run before = run.slot() < 0 ? null : open.remove(run.slot());
                List<Integer> inputs = new ArrayList<>(run.inputs());
                List<Integer> targets = new ArrayList<>(run.targets());
                if (run.start() > 0) {
                    assertThat(run.start()).isEqualTo(before.inputs().size());
                    inputs.addAll(0, before.inputs());
                    targets.addAll(0, before.targets());
                } else if (before != null) {
                    joined.add(before);
                }
                Batch.Run whole = new Batch.Run(0, Sequences.NO_SLOT, inputs, targets);
                if (run.slot() < 0) {
                    joined.add(whole);
                } else {
                    open.put(run.slot(), whole);
                }
            }
        }
        joined.addAll(open.values());
        joined.removeIf(run -> run.targets().getFirst() == CrossEntropy.IGNORE);
        assertThat(joined).isEqualTo(windows(data, 1, length * pieces));
    }

    private static Set<Batch.Run> windows(TokenDataset data, int rows, int length) {
        Set<Batch.Run> runs = new HashSet<>();
        EvaluationBatches batches = EvaluationBatches.windows(data, rows, length);
        for (Batch batch = Batch.next(batches); batch != null; batch = Batch.next(batches)) {
            batch.runs().stream().filter(run -> run.targets().getFirst() != CrossEntropy.IGNORE).forEach(runs::add);
        }
        return runs;
    }
}
