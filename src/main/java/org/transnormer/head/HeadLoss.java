package org.transnormer.head;

import org.transnormer.backend.Backend;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.RowSums;
import org.transnormer.tensor.Buffer;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * The language model head and the cross-entropy behind it, a chunk of tokens at a time, so that the (T, V) logits never
 * exist whole. SPEC section 4.3.
 *
 * <pre>
 * z_t = h_t Wᵀ        loss_t = -ln softmax(z_t)[target_t]        dh = dz W, dW += dzᵀ h
 * </pre>
 *
 * W is (Vp, d): V rows and padding up to Vp. Under tensor parallelism a rank holds V rows of a larger vocabulary,
 * {@code first} of them on the ranks before it.
 */
public final class HeadLoss {
    private final Backend backend;
    private final Communicator communicator;
    private final RowSums sums;
    private final Tensor weight;
    private final Tensor gradient;
    private final long vocabulary;
    private final long first;
    private final long chunk;
    private final Buffer logits;
    private final Buffer max;
    private final Buffer globalMax;
    private final Buffer sum;
    private final Buffer target;

    /**
     * @param communicator the ranks that hold the other rows
     * @param sums over the same
     * @param weight (Vp, d)
     * @param gradient (Vp, d), or null outside training
     * @param vocabulary V, rows of weight that count
     * @param first number of the first row in the whole vocabulary
     */
    public HeadLoss(Backend backend, Communicator communicator, RowSums sums, Tensor weight, Tensor gradient,
            long vocabulary,
            long first, long maxTokens) {
        this.backend = backend;
        this.communicator = communicator;
        this.sums = sums;
        this.weight = weight;
        this.gradient = gradient;
        this.vocabulary = vocabulary;
        this.first = first;
        this.chunk = Math.min(maxTokens, Math.max(64, backend.logitsAtATime() / weight.dim(0) / 64 * 64));
        DType accumulation = backend.precision().accumulation();
        logits = Buffer.allocate(backend.memory(), MemoryKind.LOGITS, "logits", backend.precision().activations(),
                chunk,
                weight.dim(0));
        max = Buffer.allocate(backend.memory(), MemoryKind.LOGITS, "logits.max", accumulation, chunk);
        globalMax = communicator.size() == 1 ? max
                : Buffer.allocate(backend.memory(), MemoryKind.LOGITS, "logits.global max", accumulation, chunk);
        sum = Buffer.allocate(backend.memory(), MemoryKind.LOGITS, "logits.sum", accumulation, chunk);
        target = Buffer.allocate(backend.memory(), MemoryKind.LOGITS, "logits.target", accumulation, chunk);
        backend.linear().reserve(chunk, weight.dim(1), weight.dim(0));
    }

    /** Most tokens of which logits exist at a time. */
    public long chunk() {
        return chunk;
    }

    /**
     * Logits of at most {@link #chunk} tokens: (n, Vp), valid until the next call; columns from V on mean nothing.
     *
     * @param hidden (n, d)
     */
    public Tensor logits(Tensor hidden) {
        Tensor z = logits.rows(hidden.dim(0));
        backend.linear().forward(hidden, weight, null, null, z);
        return z;
    }

    /**
     * Losses of all tokens.
     *
     * @param hidden (T, d)
     * @param targets (T) I32
     * @param losses (T)
     */
    public void forward(Tensor hidden, Tensor targets, Tensor scale, Tensor losses) {
        for (long from = 0; from < hidden.dim(0); from += chunk) {
            long to = Math.min(hidden.dim(0), from + chunk);
            chunk(hidden.slice(0, from, to), targets.slice(0, from, to), scale, losses.slice(0, from, to), false);
        }
    }

    /**
     * Losses of all tokens and the gradients of scale · Σ losses.
     *
     * @param scale (1)
     * @param dhidden (T, d), overwritten
     * @param accumulate whether to add to the weight's gradient or to overwrite it
     */
    public void forwardBackward(Tensor hidden, Tensor targets, Tensor scale, Tensor losses, Tensor dhidden,
            boolean accumulate) {
        for (long from = 0; from < hidden.dim(0); from += chunk) {
            long to = Math.min(hidden.dim(0), from + chunk);
            Tensor h = hidden.slice(0, from, to);
            Tensor dz = chunk(h, targets.slice(0, from, to), scale, losses.slice(0, from, to), true);
            backend.linear().backwardWeight(h, dz, gradient, null, accumulate || from > 0);
            backend.linear().backwardInput(dz, weight, dhidden.slice(0, from, to), false);
            sums.begin(dhidden.slice(0, from, to));
        }
        sums.await();
    }

    /** Losses of one chunk; its logits, or their gradient in the same place. */
    private Tensor chunk(Tensor hidden, Tensor targets, Tensor scale, Tensor losses, boolean backward) {
        long n = hidden.dim(0);
        Tensor z = logits(hidden);
        Tensor m = max.rows(n);
        Tensor s = sum.rows(n);
        Tensor y = target.rows(n);
        Tensor dz = backward ? z : null;
        if (communicator.size() == 1) {
            backend.crossEntropy().lossAndGradient(z, targets, vocabulary, m, s, y, scale, losses, dz);
            return z;
        }
        backend.crossEntropy().partial(z, targets, first, vocabulary, m, s, y);
        Tensor all = globalMax.rows(n);
        backend.copy(m, all);
        communicator.allReduceMax(all);
        backend.crossEntropy().rescale(m, all, s);
        communicator.allReduceSum(s);
        communicator.allReduceSum(y);
        backend.crossEntropy().apply(z, targets, first, vocabulary, all, s, y, scale, losses, dz);
        return z;
    }
}
