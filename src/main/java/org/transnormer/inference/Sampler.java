package org.transnormer.inference;

import org.eclipse.collections.api.list.primitive.IntList;
import org.transnormer.EnvironmentException;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.tensor.Tensor;

/**
 * Chooses the next token from logits z. SPEC section 5.3.
 *
 * <pre>
 * penalty      each distinct token of the history's last W:  z ← z / ρ if z &gt; 0, else z ρ
 * order        by z, falling; equal z by id, rising; z = -∞ is no candidate
 * greedy       τ = 0: the first
 * top-k        keep the first k
 * temperature  w = exp((z - z_max) / τ)
 * top-p        keep the shortest beginning of the order with Σ w ≥ p · (Σ w of all kept so far), at least the first
 * draw         the first whose running Σ w exceeds u · (Σ w of the kept)
 *              u uniform in [0, 1), the number of (seed; sequence, position)
 * </pre>
 *
 * All in double with {@link StrictMath}, and u depends on nothing but (seed, sequence, position), so equal logits give
 * equal text on every machine, in whatever batch. One instance serves any number of sequences, one call at a time; its
 * buffers are allocated once.
 */
public final class Sampler {
    private final SamplerConfig config;
    private final RandomStream random;
    private final double[] scores;
    /** The call that last penalised a token: a repeated token counts once. */
    private final long[] penalised;
    private long call;
    /** A heap with the first of the order on top in [0, left); what was taken off lies behind it, the latest first. */
    private final int[] heap;
    private int left;

    /** @param vocabularySize number of logits that stand for tokens; those behind are the model's padding */
    public Sampler(SamplerConfig config, int vocabularySize) {
        this.config = config;
        random = new RandomStream(config.seed(), Purpose.SAMPLING, "");
        scores = new double[vocabularySize];
        penalised = new long[vocabularySize];
        heap = new int[vocabularySize];
    }

    /**
     * The token that follows.
     *
     * @param logits (rows, Vp), Vp ≥ vocabularySize, any floating type, on the host
     * @param row the one to choose from
     * @param history tokens of the sequence so far, the prompt included; read only for the penalty
     * @param sequence number of the sequence, 0 or more
     * @param position position of the token to be chosen, 0 or more
     * @throws EnvironmentException if a logit is NaN or +∞, or all are -∞; names the token and the position
     */
    public int next(Tensor logits, long row, IntList history, int sequence, int position) {
        if (logits.rank() != 2 || logits.dim(1) < scores.length) {
            throw new IllegalArgumentException("%s: want (rows, %d or more)".formatted(logits, scores.length));
        }
        read(logits, row, sequence, position);
        penalise(history);
        if (config.temperature() == 0 || config.topP() == 0 || config.topK() == 1) {
            return first();
        }
        return draw(random.uniform((long) sequence << 32 | position));
    }

    private void read(Tensor logits, long row, int sequence, int position) {
        boolean some = false;
        for (int id = 0; id < scores.length; id++) {
            double z = logits.get(row, id);
            if (!(z < Double.POSITIVE_INFINITY)) {
                throw unusable("the logit of token %d is %s".formatted(id, z), sequence, position);
            }
            scores[id] = z;
            some |= z > Double.NEGATIVE_INFINITY;
        }
        if (!some) {
            throw unusable("all logits are -Infinity", sequence, position);
        }
    }

    private static EnvironmentException unusable(String what, int sequence, int position) {
        return new EnvironmentException("%s at position %d of sequence %d".formatted(what, position, sequence),
                "the weights are damaged, or a wider type is needed: try F32");
    }

    private void penalise(IntList history) {
        double penalty = config.repetitionPenalty();
        if (penalty == 1) {
            return;
        }
        call++;
        for (int i = Math.max(0, history.size() - config.penaltyWindow()); i < history.size(); i++) {
            int id = history.get(i);
            if (penalised[id] != call) {
                penalised[id] = call;
                scores[id] = scores[id] > 0 ? scores[id] / penalty : scores[id] * penalty;
            }
        }
    }

    private int first() {
        int best = 0;
        for (int id = 1; id < scores.length; id++) {
            if (scores[id] > scores[best]) {
                best = id;
            }
        }
        return best;
    }

    private int draw(double u) {
        heapify();
        double max = scores[heap[0]];
        int k = config.topK() == 0 ? scores.length : Math.min(config.topK(), scores.length);
        double all = k < scores.length ? sumOfFirst(k, max) : sumOfAll(max);
        double kept = config.topP() < 1 ? sumOfNucleus(config.topP() * all, k, max) : all;
        double running = weight(nth(0), max);
        int n = 0;
        while (running <= u * kept && n + 1 < k) {
            double next = weight(nth(n + 1), max);
            if (next == 0) {
                // Reached only where kept, summed in another order, is a rounding error above the sum of all.
                break;
            }
            running += next;
            n++;
        }
        return nth(n);
    }

    private double sumOfFirst(int k, double max) {
        double sum = 0;
        for (int i = 0; i < k; i++) {
            sum += weight(nth(i), max);
        }
        return sum;
    }

    private double sumOfAll(double max) {
        double sum = 0;
        for (int id = 0; id < scores.length; id++) {
            sum += weight(id, max);
        }
        return sum;
    }

    /** Σ w of the shortest beginning of the order, of at most k, that reaches {@code goal}. */
    private double sumOfNucleus(double goal, int k, double max) {
        double running = 0;
        int i = 0;
        do {
            running += weight(nth(i++), max);
        } while (running < goal && i < k);
        return running;
    }

    private double weight(int id, double max) {
        return StrictMath.exp((scores[id] - max) / config.temperature());
    }

    /** Token i of the order, taken off the heap when it is first asked for. */
    private int nth(int i) {
        int end = heap.length - 1 - i;
        while (left > end) {
            int top = heap[0];
            heap[0] = heap[--left];
            heap[left] = top;
            sink(0);
        }
        return heap[end];
    }

    private void heapify() {
        left = heap.length;
        for (int id = 0; id < left; id++) {
            heap[id] = id;
        }
        for (int i = left / 2 - 1; i >= 0; i--) {
            sink(i);
        }
    }

    private void sink(int i) {
        int id = heap[i];
        for (int child = 2 * i + 1; child < left; child = 2 * i + 1) {
            if (child + 1 < left && precedes(heap[child + 1], heap[child])) {
                child++;
            }
            if (!precedes(heap[child], id)) {
                break;
            }
            heap[i] = heap[child];
            i = child;
        }
        heap[i] = id;
    }

    private boolean precedes(int a, int b) {
        return scores[a] > scores[b] || scores[a] == scores[b] && a < b;
    }
}
