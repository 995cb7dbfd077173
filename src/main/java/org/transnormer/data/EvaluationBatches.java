package org.transnormer.data;

import java.util.Arrays;
import org.transnormer.lightning.Sequences;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.tensor.Tensor;

/**
 * Every pair of a dataset exactly once. Documents begin in order and are cut, from their beginning, into windows of T
 * pairs, the last one shorter. SPEC section 6.4.
 *
 * <ul>
 * <li>{@link #windows}: each window is a sequence from position 0 with a zero state, as in training.
 * <li>{@link #carried}: each window goes on at its position in the document with the state that the one before left in
 * its slot, so that a recurrent model reads whole documents, exactly, at a memory that depends on T only. A sequence
 * with a slot and start 0 begins a document: its slot must be zeroed first. A document of one window has no slot.
 * </ul>
 *
 * Windows may also be carried in pieces, where a batch has no room for whole ones: a document then starts anew, from
 * position 0 with a zero state, after each window.
 *
 * <p>A batch has room for {@code rows} windows. First, each slot in use takes the next window of its document; then the
 * next documents follow: one that fits into a window as a whole, where there is room; a longer one where there is a
 * free slot and room for a full window. Where the next document does not go in, padding ends the batch.
 */
public final class EvaluationBatches implements BatchSource {
    private static final int FREE = -1;

    private final TokenDataset data;
    private final int rows;
    private final long length;
    private final boolean carry;
    private final long window;
    private final int[] documentOfSlot;
    private final long[] doneOfSlot;
    private final boolean[] taken;
    private int nextDocument;

    private EvaluationBatches(TokenDataset data, int rows, long length, boolean carry, long window) {
        if (rows < 1 || length < 1) {
            throw new IllegalArgumentException("need at least 1 row of 1 token, not %d of %d".formatted(rows, length));
        }
        this.data = data;
        this.rows = rows;
        this.length = length;
        this.carry = carry;
        this.window = window;
        documentOfSlot = new int[rows];
        doneOfSlot = new long[rows];
        taken = new boolean[rows];
        restart();
    }

    /** Windows that know nothing of each other. */
    public static EvaluationBatches windows(TokenDataset data, int rows, long length) {
        return new EvaluationBatches(data, rows, length, false, length);
    }

    /** Windows that carry the state on; needs {@code rows} slots. */
    public static EvaluationBatches carried(TokenDataset data, int rows, long length) {
        return new EvaluationBatches(data, rows, length, true, Long.MAX_VALUE);
    }

    /**
     * Windows that know nothing of each other, each in pieces that carry the state on; needs {@code rows} slots.
     *
     * @param length tokens of a piece
     * @param pieces of a window
     */
    public static EvaluationBatches pieces(TokenDataset data, int rows, long length, int pieces) {
        return new EvaluationBatches(data, rows, length, true, Math.multiplyExact(length, pieces));
    }

    /** Begins again. */
    public void restart() {
        Arrays.fill(documentOfSlot, FREE);
        nextDocument = 0;
    }

    @Override
    public long tokens() {
        return rows * length;
    }

    @Override
    public int maxSequences() {
        return Math.toIntExact(Math.min(tokens(), 2L * rows + tokens() / data.shortest()));
    }

    @Override
    public int slots() {
        return carry ? rows : 0;
    }

    @Override
    public long next(Tensor ids, Tensor targets, Sequences sequences) {
        Batches.check(this, ids, targets);
        sequences.clear();
        long at = 0;
        for (int slot = 0; slot < rows; slot++) {
            taken[slot] = documentOfSlot[slot] != FREE;
            if (taken[slot]) {
                at += window(slot, at, ids, targets, sequences);
            }
        }
        for (; nextDocument < data.documents(); nextDocument++) {
            long room = tokens() - at;
            long pairs = data.pairs(nextDocument);
            if (pairs <= length && pairs <= room) {
                data.copy(nextDocument, 0, pairs, ids, targets, at);
                sequences.add(pairs, 0, Sequences.NO_SLOT);
                at += pairs;
                continue;
            }
            int slot = untaken();
            if (pairs <= length || length > room || slot == FREE) {
                break;
            }
            taken[slot] = true;
            documentOfSlot[slot] = nextDocument;
            doneOfSlot[slot] = 0;
            at += window(slot, at, ids, targets, sequences);
        }
        if (at > 0 && at < tokens()) {
            pad(at, ids, targets, sequences);
        }
        return at;
    }

    /** Writes the next window of a slot's document, and frees the slot if it was the last. */
    private long window(int slot, long at, Tensor ids, Tensor targets, Sequences sequences) {
        int document = documentOfSlot[slot];
        long done = doneOfSlot[slot];
        long count = Math.min(length, data.pairs(document) - done);
        data.copy(document, done, count, ids, targets, at);
        sequences.add(count, carry ? done % window : 0, carry ? slot : Sequences.NO_SLOT);
        doneOfSlot[slot] = done + count;
        if (done + count == data.pairs(document)) {
            documentOfSlot[slot] = FREE;
        }
        return count;
    }

    /** A slot that no sequence of this batch uses, or FREE; one that a document has just left holds its state still. */
    private int untaken() {
        for (int slot = 0; slot < rows; slot++) {
            if (!taken[slot]) {
                return slot;
            }
        }
        return FREE;
    }

    private void pad(long from, Tensor ids, Tensor targets, Sequences sequences) {
        for (long t = from; t < tokens(); t++) {
            ids.setInt(t, data.tokenizer().padId());
            targets.setInt(t, CrossEntropy.IGNORE);
        }
        for (long at = from; at < tokens(); at += length) {
            sequences.add(Math.min(length, tokens() - at), 0, Sequences.NO_SLOT);
        }
    }
}
