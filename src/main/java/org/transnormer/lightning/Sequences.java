package org.transnormer.lightning;

import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * What a buffer of flattened tokens is made of: consecutive sequences, each with its offset, the position of its first
 * token, and the slot of its recurrent state. Packed documents, ragged prefill, batched decode and a long text split
 * over ranks are all this one thing. SPEC section 3.3.
 *
 * <p>Offsets (count + 1), positions (tokens) and slots (count) are I32 tensors, so that a recorded step can be fed new
 * values; count and tokens are known to the host.
 */
public final class Sequences {
    /** The slot of a sequence that starts from a zero state and whose final state nobody wants. */
    public static final int NO_SLOT = -1;

    /** Slots, offsets and positions, one behind the other: what changes between two steps goes up in one copy. */
    private final Tensor all;
    private final Tensor offsets;
    private final Tensor positions;
    private final Tensor slots;
    private final long maxTokens;
    private final int maxCount;
    private long tokens;
    private int count;

    private Sequences(Memory memory, int maxCount, long maxTokens) {
        this.maxCount = maxCount;
        this.maxTokens = maxTokens;
        long ends = 2L * maxCount + 1;
        all = memory.allocate(MemoryKind.DATA, "sequences", DType.I32, ends + maxTokens);
        slots = all.slice(0, 0, maxCount);
        offsets = all.slice(0, maxCount, ends);
        positions = all.slice(0, ends, ends + maxTokens);
    }

    /** Room for at most {@code maxCount} sequences of at most {@code maxTokens} tokens together; empty. */
    public static Sequences allocate(Memory memory, int maxCount, long maxTokens) {
        return new Sequences(memory, maxCount, maxTokens);
    }

    /** Removes all sequences. */
    public void clear() {
        count = 0;
        tokens = 0;
    }

    /**
     * Appends a sequence.
     *
     * @param length number of tokens, at least 1
     * @param start position of its first token
     * @param slot index of its state, or {@link #NO_SLOT}
     * @throws IllegalArgumentException if there is no room, naming what does not fit
     */
    public void add(long length, long start, int slot) {
        if (length < 1 || start < 0 || start + length > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(
                    "a sequence needs 1 or more tokens and positions below 2^31: length %d, start %d"
                            .formatted(length, start));
        }
        if (count == maxCount || tokens + length > maxTokens) {
            throw new IllegalArgumentException("no room for %d more tokens: %d of %d sequences, %d of %d tokens used"
                    .formatted(length, count, maxCount, tokens, maxTokens));
        }
        for (long i = 0; i < length; i++) {
            positions.setInt(tokens + i, (int) (start + i));
        }
        offsets.setInt(count, (int) tokens);
        slots.setInt(count, slot);
        count++;
        tokens += length;
        offsets.setInt(count, (int) tokens);
    }

    /** Makes a device see the sequences. To be called after the last {@link #add} and before the step. */
    public void upload() {
        all().upload();
    }

    /** Slots, offsets and positions in one: what {@link #upload} makes a device see. */
    public Tensor all() {
        return all.slice(0, 0, 2L * maxCount + 1 + tokens);
    }

    public int count() {
        return count;
    }

    public long tokens() {
        return tokens;
    }

    /** First token of sequence i in the flattened buffer; offset(count()) is tokens(). */
    public long offset(int i) {
        return i == 0 ? 0 : offsets.getInt(i);
    }

    /** Position of the first token of sequence i. */
    public long start(int i) {
        return positions.getInt(offset(i));
    }

    public long length(int i) {
        return offset(i + 1) - offset(i);
    }

    public int slot(int i) {
        return slots.getInt(i);
    }

    /** (tokens) I32: position of each token in its sequence. */
    public Tensor positions() {
        return positions.slice(0, 0, tokens);
    }

    /** (count + 1) I32. */
    public Tensor offsets() {
        return offsets.slice(0, 0, count + 1L);
    }

    /** (count) I32. */
    public Tensor slots() {
        return slots.slice(0, 0, count);
    }
}
