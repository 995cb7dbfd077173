package org.transnormer.lightning;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * The one computation of {@link LightningVector}: Lightning Attention-2 in chunks of 64 tokens, over any four operands.
 *
 * <pre>
 * y_t = Σ_(s≤t) λ^(t-s) (a_t·b_s) c_s + λ^(t+1) S_0ᵀ a_t        S_T = λ^T S_0 + Σ_s λ^(T-1-s) b_s c_sᵀ
 * reversed, t and s counted from the last token:
 * y_t = Σ_(s≤t) λ^(t-s) (a_t·b_s) c_s + λ^t S_0ᵀ a_t            S_T = λ^T S_0 + Σ_s λ^(T-s) b_s c_sᵀ
 * </pre>
 *
 * The forward and each of the three gradients is one such sweep (SPEC section 3.3.5).
 *
 * <p>Between chunks of m tokens the state moves by S ← λ^m S + D, D the chunk's own sum from zero. A head of a
 * sequence is a pair. Work is one task per few pairs, chunk after chunk; or, where that would leave threads idle, all D
 * of a span of chunks as tasks, then the states as a scan, then all outputs as tasks. Both do the same arithmetic on the same numbers.
 */
final class LightningSweep implements Workers.Task {
    private static final int CHUNK = 64;
    private static final long FLOAT = Float.BYTES;
    private static final long PRODUCT_ROW = CHUNK * FLOAT;
    /** A task of fewer multiplications than this is not worth waking a thread for. */
    private static final long GRAIN = 1 << 20;
    /** As many pairs as this are tasks enough at any rate; the other way reads b and c twice, an eighth more work. */
    private static final long MANY_PAIRS = 16;
    /** Heads that a task takes through a sequence together. */
    private static final long GROUP = 4;
    /**
     * Chunks that one head goes ahead of the others. The heads of a token are neighbours in memory and hardware fetches
     * ahead: what it fetched must not have left the cache when its head is due.
     */
    private static final long WINDOW = 16;
    /** From this many chunks on, a sequence is worth three rounds of tasks per span. */
    private static final long LONG = 32;
    /** Chunks in a span, over all pairs: as many states are held. */
    private static final long SPAN_TASKS = 128;
    /** State rows in one task of the scan. */
    private static final long SCAN_ROWS = 32;
    private static final ValueLayout.OfFloat LAYOUT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(Simd.ORDER);

    private enum Phase {
        PAIRS, INCREMENTS, SCAN, OUTPUTS
    }

    private final Workers workers;
    private final Workspace workspace;
    private final Operand a = new Operand();
    private final Operand b = new Operand();
    private final Operand c = new Operand();
    private final Operand y = new Operand();

    private Sequences sequences;
    private Tensor rates;
    private Tensor mask;
    private Tensor initial;
    private Tensor last;
    private boolean reversed;
    private boolean transposed;
    private long minLength;
    private long heads;
    private long pairs;

    private MemorySegment scratch;
    private long aRow;
    private long cRow;
    private long stateBytes;
    private long workerBytes;
    private Phase phase;
    private long tasks;
    private long span;
    private long spanStart;

    LightningSweep(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
    }

    /** Scratch for sweeps of up to this size; the widths are those of a and b, of c and y. */
    static long bytes(int threads, long tokens, long pairs, long aWidth, long cWidth) {
        boolean splits = Math.ceilDiv(tokens, CHUNK) >= LONG;
        long states = splits ? Math.min(pairs, MANY_PAIRS) + SPAN_TASKS : 0;
        long state = LightningTiles.pad(aWidth) * LightningTiles.pad(cWidth) * FLOAT;
        return threads * workerBytes(aWidth, cWidth) + states * state;
    }

    /** Multiplications per token and head: half the square in a chunk, and the state twice. */
    private static long work(long aWidth, long cWidth) {
        return CHUNK / 2 * (aWidth + cWidth) + 2 * aWidth * cWidth;
    }

    private static long workerBytes(long aWidth, long cWidth) {
        long aRow = LightningTiles.pad(aWidth);
        long cRow = LightningTiles.pad(cWidth);
        return (3 * CHUNK * (aRow + cRow) + CHUNK * CHUNK + 2 * CHUNK + (GROUP + 1) * aRow * cRow) * FLOAT;
    }

    /** The four operands; a flag says whether rows that the mask excludes count as zero. */
    LightningSweep operands(Tensor a, boolean aMasked, Tensor b, boolean bMasked, Tensor c, boolean cMasked, Tensor y,
            boolean yMasked) {
        this.a.set(a, aMasked);
        this.b.set(b, bMasked);
        this.c.set(c, cMasked);
        this.y.set(y, yMasked);
        return this;
    }

    /**
     * @param initial S_0 by slot, or null
     * @param transposed whether {@code initial} holds S_0ᵀ
     * @param last receives S_T by slot, or null
     */
    LightningSweep states(Tensor initial, boolean transposed, Tensor last) {
        this.initial = initial;
        this.transposed = transposed;
        this.last = last;
        return this;
    }

    /** @param minLength shorter sequences are left alone */
    void run(Tensor rates, Sequences sequences, Tensor mask, boolean reversed, long minLength) {
        this.rates = rates;
        this.sequences = sequences;
        this.mask = mask;
        this.reversed = reversed;
        this.minLength = minLength;
        heads = a.heads;
        pairs = sequences.count() * heads;
        aRow = LightningTiles.pad(a.width) * FLOAT;
        cRow = LightningTiles.pad(c.width) * FLOAT;
        stateBytes = LightningTiles.pad(a.width) * cRow;
        workerBytes = workerBytes(a.width, c.width);
        scratch = workspace.get(bytes(workers.threads(), sequences.tokens(), pairs, a.width, c.width)).segment();
        long longest = 0;
        for (int n = 0; n < sequences.count(); n++) {
            longest = Math.max(longest, chunks(n));
        }
        if (longest >= LONG && !pairsSuffice(longest)) {
            span = SPAN_TASKS / pairs;
            for (spanStart = 0; spanStart < longest; spanStart += span) {
                run(Phase.INCREMENTS, pairs * span);
                run(Phase.SCAN, pairs * Math.ceilDiv(a.width, SCAN_ROWS));
                run(Phase.OUTPUTS, pairs * span);
            }
        } else {
            long threads = workers.threads();
            long groups = Math.ceilDiv(Math.ceilDiv(pairs, GROUP), threads) * threads;
            run(Phase.PAIRS, Math.min(Math.min(pairs, groups),
                    Math.ceilDiv(sequences.tokens() * heads * work(a.width, c.width), GRAIN)));
        }
    }

    /** Whether whole pairs as tasks keep all threads busy; a choice of threads, as both ways give the same bits. */
    private boolean pairsSuffice(long longest) {
        long threads = workers.threads();
        long all = 0;
        for (int n = 0; n < sequences.count(); n++) {
            all += chunks(n) * heads;
        }
        return pairs >= MANY_PAIRS || Math.ceilDiv(pairs, threads) * longest * threads * 8 <= all * 9;
    }

    private void run(Phase next, long count) {
        phase = next;
        tasks = count;
        workers.run(count, this);
    }

    @Override
    public void run(long index, int worker) {
        long w = worker * workerBytes;
        switch (phase) {
            case PAIRS -> {
                long end = (index + 1) * pairs / tasks;
                for (long pair = index * pairs / tasks, next; pair < end; pair = next) {
                    long h = pair % heads;
                    next = Math.min(Math.min(end, pair + GROUP), pair - h + heads);
                    group(w, (int) (pair / heads), h, h + next - pair);
                }
            }
            case INCREMENTS -> increment(w, index % pairs, spanStart + index / pairs);
            case SCAN -> scan(index % pairs, index / pairs * SCAN_ROWS);
            case OUTPUTS -> output(w, index % pairs, spanStart + index / pairs);
        }
    }

    /** Pairs of sequence n, heads {@code from} to {@code to} - 1, at most {@link #GROUP}, a window of chunks at a time. */
    private void group(long w, int n, long from, long to) {
        long chunks = chunks(n);
        for (long h = from; h < to && chunks > 0; h++) {
            readState(n, h, 0, a.width, state(w, h - from));
        }
        for (long window = 0; window < chunks; window += WINDOW) {
            for (long h = from; h < to; h++) {
                pair(w, n, h, window, Math.min(chunks, window + WINDOW), state(w, h - from));
            }
        }
        for (long h = from; h < to && chunks > 0 && wantsLast(n); h++) {
            writeState(n, h, 0, a.width, state(w, h - from));
        }
    }

    private void pair(long w, int n, long h, long from, long to, long state) {
        decays(w, h);
        for (long chunk = from; chunk < to; chunk++) {
            readKeys(w, n, h, chunk);
            outputs(w, n, h, chunk, state);
            if (chunk < chunks(n) - 1 || wantsLast(n)) {
                increments(w, n, chunk, delta(w));
                double factor = power(h, chunkLength(n, chunk));
                LightningTiles.scaleAdd(scratch, state, delta(w), a.width * cRow / FLOAT, (float) factor,
                        (float) (factor - (float) factor));
            }
        }
    }

    private void increment(long w, long pair, long chunk) {
        int n = (int) (pair / heads);
        if (chunk < chunks(n) - 1 || chunk == chunks(n) - 1 && wantsLast(n)) {
            decays(w, pair % heads);
            readKeys(w, n, pair % heads, chunk);
            increments(w, n, chunk, spanState(pair, chunk));
        }
    }

    /** Turns the increments of a span, for some rows, into the states before each chunk. */
    private void scan(long pair, long row) {
        int n = (int) (pair / heads);
        long h = pair % heads;
        long rows = Math.min(SCAN_ROWS, a.width - row);
        long end = Math.min(spanStart + span, chunks(n));
        long from = row * cRow;
        long state = pairState(pair) + from;
        if (spanStart == 0 && end > 0) {
            readState(n, h, row, rows, state);
        }
        for (long chunk = spanStart; chunk < end; chunk++) {
            double factor = power(h, chunkLength(n, chunk));
            LightningTiles.exchangeScaleAdd(scratch, state, spanState(pair, chunk) + from, rows * cRow / FLOAT,
                    (float) factor, (float) (factor - (float) factor));
        }
        if (spanStart < end && end == chunks(n) && wantsLast(n)) {
            writeState(n, h, row, rows, state);
        }
    }

    private void output(long w, long pair, long chunk) {
        int n = (int) (pair / heads);
        if (chunk < chunks(n)) {
            decays(w, pair % heads);
            readKeys(w, n, pair % heads, chunk);
            outputs(w, n, pair % heads, chunk, spanState(pair, chunk));
        }
    }

    /** Rows of b and c of a chunk, into scratch. */
    private void readKeys(long w, int n, long h, long chunk) {
        readRows(b, n, h, chunk, keys(w), aRow);
        readRows(c, n, h, chunk, values(w), cRow);
    }

    /** y of a chunk, given b and c in scratch and the state before the chunk. */
    private void outputs(long w, int n, long h, long chunk, long state) {
        MemorySegment m = scratch;
        long length = chunkLength(n, chunk);
        long queries = queries(w);
        long products = products(w);
        long values = values(w);
        long outputs = outputs(w);
        long carried = carried(w);
        boolean hasState = chunk > 0 || initial != null && sequences.slot(n) != Sequences.NO_SLOT;
        readRows(a, n, h, chunk, queries, aRow);
        LightningTiles.transpose(m, keys(w), aRow, length, a.width, keysTransposed(w), PRODUCT_ROW);
        for (long t = 0; t < length; t += LightningTiles.ROWS) {
            LightningTiles.multiply(m, queries + t * aRow, aRow, FLOAT, keysTransposed(w), PRODUCT_ROW, a.width,
                    products + t * PRODUCT_ROW, PRODUCT_ROW, LightningTiles.pad(t + LightningTiles.ROWS));
        }
        LightningTiles.multiplyElements(m, products, PRODUCT_ROW, length, LightningTiles.pad(length), decay(w, 0));
        for (long t = 0; t < length; t += LightningTiles.ROWS) {
            LightningTiles.multiply(m, products + t * PRODUCT_ROW, PRODUCT_ROW, FLOAT, values, cRow, t + 1,
                    outputs + t * cRow, cRow, cRow / FLOAT);
        }
        LightningTiles.multiplyAddCorners(m, products + FLOAT, PRODUCT_ROW, values + cRow, cRow, length, outputs, cRow,
                cRow / FLOAT);
        if (hasState) {
            for (long t = 0; t < length; t += LightningTiles.ROWS) {
                LightningTiles.multiply(m, queries + t * aRow, aRow, FLOAT, state, cRow, a.width, carried + t * cRow,
                        cRow, cRow / FLOAT);
            }
            LightningTiles.addScaledRows(m, outputs, carried, cRow, length, decay(w, reversed ? 0 : 1));
        }
        writeRows(n, h, chunk, outputs);
    }

    /** D of a chunk, given b and c in scratch; b is left scaled. */
    private void increments(long w, int n, long chunk, long delta) {
        MemorySegment m = scratch;
        long length = chunkLength(n, chunk);
        LightningTiles.scaleRows(m, keys(w), aRow, length, decay(w, length - (reversed ? 0 : 1)));
        for (long i = 0; i < a.width; i += LightningTiles.ROWS) {
            LightningTiles.multiply(m, keys(w) + i * FLOAT, FLOAT, aRow, values(w), cRow, length,
                    delta + i * cRow, cRow, cRow / FLOAT);
        }
    }

    /** λ^64 to λ^0, so that λ^(t-s) for s = 0, 1, ... lies in order; s > t takes what follows, for no one to read. */
    private void decays(long w, long h) {
        double lambda = power(h, 1);
        double power = 1;
        for (long j = 0; j <= CHUNK; j++, power *= lambda) {
            scratch.set(LAYOUT, decay(w, j), (float) power);
        }
    }

    private double power(long h, long n) {
        return StrictMath.exp(-rates.get(h) * n);
    }

    private void readRows(Operand x, int n, long h, long chunk, long to, long row) {
        long length = chunkLength(n, chunk);
        long first = token(n, chunk, 0);
        long step = token(n, chunk, 1) - first;
        LightningTiles.copyRows(x.segment, x.at(first, h), step * x.tokenBytes, scratch, to, row, length, x.width);
        for (long t = 0; x.masked && t < length; t++) {
            if (mask.getInt(first + t * step) == 0) {
                LightningTiles.zero(scratch, to + t * row, row / FLOAT);
            }
        }
    }

    private void writeRows(int n, long h, long chunk, long from) {
        long length = chunkLength(n, chunk);
        long first = token(n, chunk, 0);
        long step = token(n, chunk, 1) - first;
        for (long t = 0; y.masked && t < length; t++) {
            if (mask.getInt(first + t * step) == 0) {
                LightningTiles.zero(scratch, from + t * cRow, cRow / FLOAT);
            }
        }
        LightningTiles.copyRows(scratch, from, cRow, y.segment, y.at(first, h), step * y.tokenBytes, length, y.width);
    }

    private void readState(int n, long h, long row, long rows, long to) {
        LightningTiles.zero(scratch, to, rows * cRow / FLOAT);
        if (initial == null || sequences.slot(n) == Sequences.NO_SLOT) {
            return;
        }
        MemorySegment from = initial.segment();
        long at = stateOffset(initial, n, h);
        if (!transposed) {
            LightningTiles.copyRows(from, at + row * c.width * FLOAT, c.width * FLOAT, scratch, to, cRow, rows,
                    c.width);
            return;
        }
        for (long i = 0; i < rows; i++) {
            for (long j = 0; j < c.width; j++) {
                float x = from.get(LAYOUT, at + (j * a.width + row + i) * FLOAT);
                scratch.set(LAYOUT, to + i * cRow + j * FLOAT, x);
            }
        }
    }

    private void writeState(int n, long h, long row, long rows, long from) {
        long at = stateOffset(last, n, h) + row * c.width * FLOAT;
        LightningTiles.copyRows(scratch, from, cRow, last.segment(), at, c.width * FLOAT, rows, c.width);
    }

    private long stateOffset(Tensor states, int n, long h) {
        return states.byteOffset() + (sequences.slot(n) * heads + h) * a.width * c.width * FLOAT;
    }

    private boolean wantsLast(int n) {
        return last != null && sequences.slot(n) != Sequences.NO_SLOT;
    }

    /** Chunks of sequence n; 0 if it is left alone. */
    private long chunks(int n) {
        long length = sequences.length(n);
        return length < minLength ? 0 : Math.ceilDiv(length, CHUNK);
    }

    private long chunkLength(int n, long chunk) {
        return Math.min(CHUNK, sequences.length(n) - chunk * CHUNK);
    }

    private long token(int n, long chunk, long t) {
        long i = chunk * CHUNK + t;
        return reversed ? sequences.offset(n + 1) - 1 - i : sequences.offset(n) + i;
    }

    private long queries(long w) {
        return w;
    }

    private long keys(long w) {
        return queries(w) + CHUNK * aRow;
    }

    private long keysTransposed(long w) {
        return keys(w) + CHUNK * aRow;
    }

    private long values(long w) {
        return keysTransposed(w) + CHUNK * aRow;
    }

    private long outputs(long w) {
        return values(w) + CHUNK * cRow;
    }

    /** What the state contributes to y. */
    private long carried(long w) {
        return outputs(w) + CHUNK * cRow;
    }

    private long products(long w) {
        return carried(w) + CHUNK * cRow;
    }

    /** λ^j, 0 ≤ j ≤ 64; room for j > -64. */
    private long decay(long w, long j) {
        return products(w) + CHUNK * PRODUCT_ROW + (CHUNK - j) * FLOAT;
    }

    private long delta(long w) {
        return products(w) + (CHUNK + 2) * PRODUCT_ROW;
    }

    /** The state of a task's i-th head. */
    private long state(long w, long i) {
        return delta(w) + (i + 1) * stateBytes;
    }

    /** The state of a pair where its next span begins. */
    private long pairState(long pair) {
        return workers.threads() * workerBytes + pair * stateBytes;
    }

    private long spanState(long pair, long chunk) {
        return pairState(pairs) + (pair * span + chunk - spanStart) * stateBytes;
    }

    /** Where a (T, H, width) tensor lies. */
    private static final class Operand {
        private MemorySegment segment;
        private long start;
        private long tokenBytes;
        private long headBytes;
        private long heads;
        private long width;
        private boolean masked;

        private void set(Tensor x, boolean isMasked) {
            segment = x.segment();
            start = x.byteOffset();
            tokenBytes = x.stride(0) * FLOAT;
            headBytes = x.stride(1) * FLOAT;
            heads = x.dim(1);
            width = x.dim(2);
            masked = isMasked;
        }

        private long at(long token, long head) {
            return start + token * tokenBytes + head * headBytes;
        }
    }
}
