package org.transnormer.inference;

import java.util.function.Supplier;
import org.eclipse.collections.api.factory.primitive.IntObjectMaps;
import org.eclipse.collections.api.map.primitive.MutableIntObjectMap;
import org.transnormer.backend.Backend;
import org.transnormer.model.Batch;
import org.transnormer.model.DecodeState;
import org.transnormer.model.TransNormer;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * Inference by the robust recurrence S_t = e^(-r) S_(t-1) + k_t v_tᵀ: memory and time per token are constant, and no
 * factor ever grows. SPEC section 5.1. A prompt goes through the same recurrence in chunks; each sequence has its own
 * state and its own position, so sequences may start, pause, fork and be reordered independently.
 */
public final class RobustInference {
    private final Backend backend;
    private final TransNormer model;
    private final DecodeState state;
    private final Batch batch;
    /** Logits of the whole vocabulary; null where the ranks do not split it. */
    private final Tensor whole;
    /** Decoding steps by their number of sequences. */
    private final MutableIntObjectMap<Step> steps = IntObjectMaps.mutable.empty();

    /** @param slots how many sequences are kept at a time */
    public RobustInference(Backend backend, TransNormer model, int slots) {
        if (slots > model.maxTokens()) {
            throw new IllegalArgumentException("a model with buffers for %d tokens cannot decode %d sequences at once"
                    .formatted(model.maxTokens(), slots));
        }
        this.backend = backend;
        this.model = model;
        this.state = new DecodeState(model, backend.memory(), slots);
        int ranks = model.communicator().size();
        this.whole = ranks == 1 ? null : backend.memory().allocate(MemoryKind.LOGITS, "logits.whole",
                backend.precision().activations(), slots, model.config().paddedVocabulary());
        this.batch = new Batch(backend.memory(), backend.precision().accumulation(), slots, model.maxTokens());
    }

    public DecodeState state() {
        return state;
    }

    /**
     * Continues the sequence in a slot with some tokens, from one to many, at once.
     *
     * @return logits behind the last token, (1, Vp), valid until the next call
     */
    public Tensor extend(int slot, int... tokens) {
        if (tokens.length == 0) {
            throw new IllegalArgumentException("a sequence is continued with one or more tokens");
        }
        model.config().checkSequence(state.position(slot) + tokens.length);
        int chunk = Math.toIntExact(model.maxTokens());
        long n = 0;
        for (int from = 0; from < tokens.length; from += chunk) {
            n = Math.min(chunk, tokens.length - from);
            batch.sequences().clear();
            append(slot, tokens, from, (int) n);
            forward();
        }
        return backend.readable(whole(model.logits(n, n - 1, n)));
    }

    /**
     * Continues several sequences with one token each.
     *
     * @param slots the sequences, all different
     * @param tokens one for each
     * @return logits, (n, Vp), in the order of slots, valid until the next call; n may be at most
     *     {@link TransNormer#logitsChunk}
     */
    public Tensor decode(int[] slots, int[] tokens) {
        batch.sequences().clear();
        for (int i = 0; i < slots.length; i++) {
            model.config().checkSequence(state.position(slots[i]) + 1);
            append(slots[i], tokens, i, 1);
        }
        Tensor logits = steps.getIfAbsentPutWithKey(slots.length, Step::new).run();
        advance();
        return logits;
    }

    /** The logits of the whole vocabulary. */
    private Tensor whole(Tensor logits) {
        if (whole == null) {
            return logits;
        }
        for (long i = 0; i < logits.dim(0); i++) {
            model.communicator().allGather(row(logits, i), row(whole, i));
        }
        return whole.slice(0, 0, logits.dim(0));
    }

    private static Tensor row(Tensor x, long i) {
        return x.slice(0, i, i + 1).reshape(x.dim(1));
    }

    private void append(int slot, int[] tokens, int from, int count) {
        long at = batch.sequences().tokens();
        batch.sequences().add(count, state.position(slot), slot);
        for (int i = 0; i < count; i++) {
            batch.idBuffer().setInt(at + i, checked(tokens[from + i]));
        }
    }

    private int checked(int token) {
        if (token < 0 || token >= model.config().vocabulary()) {
            throw new IllegalArgumentException(
                    "token %d is not in the vocabulary of %d".formatted(token, model.config().vocabulary()));
        }
        return token;
    }

    /** One token of each of some sequences: what is enqueued depends on their number only, so it can be recorded. */
    private final class Step {
        private final int count;
        private Supplier<Tensor> recorded;
        private Tensor logits;

        Step(int count) {
            this.count = count;
        }

        /** At once the first time, which may allocate; recorded from the second on. */
        Tensor run() {
            if (logits == null) {
                batch.uploadInputs();
                enqueue();
                return backend.readable(logits);
            }
            if (recorded == null) {
                recorded = backend.record(batch.inputs(), this::enqueue, logits);
            }
            return recorded.get();
        }

        private void enqueue() {
            model.forward(batch, state, Trace.NONE);
            logits = whole(model.logits(count, 0, count));
        }
    }

    private void forward() {
        batch.uploadInputs();
        model.forward(batch, state, Trace.NONE);
        advance();
    }

    private void advance() {
        for (int i = 0; i < batch.sequences().count(); i++) {
            state.advance(batch.sequences().slot(i), batch.sequences().length(i));
        }
    }
}
