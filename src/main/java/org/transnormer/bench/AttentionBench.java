package org.transnormer.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * Lightning Attention on one sequence of T tokens. Linear attention takes the same time per token whatever T.
 *
 * @param heads H
 * @param headDim of keys and of values
 */
public record AttentionBench(int heads, int headDim) {

    /**
     * What one length came to.
     *
     * @param tokens T
     * @param forward one pass over the sequence
     * @param both forward and backward
     */
    public record Result(long tokens, Timing forward, Timing both) {
    }

    /** Measures all lengths in turns. */
    public List<Result> run(List<Long> lengths, BackendKind kind, Precision precision, int threads, double seconds) {
        try (HostMemory memory = new HostMemory(); Backend backend = kind.open(precision, memory, threads)) {
            List<Runnable> calls = new ArrayList<>();
            for (long tokens : lengths) {
                add(backend, tokens, calls);
            }
            List<Timing> timings = Timing.inTurns(seconds, calls);
            List<Result> results = new ArrayList<>();
            for (int i = 0; i < lengths.size(); i++) {
                results.add(new Result(lengths.get(i), timings.get(2 * i), timings.get(2 * i + 1)));
            }
            return results;
        }
    }

    /** Adds the forward of one length, and the forward and backward. */
    private void add(Backend backend, long tokens, List<Runnable> calls) {
        Tensor q = random(backend, "q", tokens);
        Tensor k = random(backend, "k", tokens);
        Tensor v = random(backend, "v", tokens);
        Tensor dout = random(backend, "dout", tokens);
        Tensor o = tensor(backend, "o", tokens);
        Tensor dq = tensor(backend, "dq", tokens);
        Tensor dk = tensor(backend, "dk", tokens);
        Tensor dv = tensor(backend, "dv", tokens);
        Tensor rates = rates(backend);
        Sequences whole = Sequences.allocate(backend.memory(), 1, tokens);
        whole.add(tokens, 0, Sequences.NO_SLOT);
        Runnable forward = () -> backend.lightning().forward(q, k, v, rates, whole, null, null, o, null);
        calls.add(forward);
        calls.add(() -> {
            forward.run();
            backend.lightning().backward(q, k, v, rates, whole, null, null, dout, null, dq, dk, dv, null);
        });
    }

    /** Those of the middle one of three layers. */
    private Tensor rates(Backend backend) {
        double[] values = DecaySchedule.RELEASED.rates(DecayTemperature.BY_LAYER, heads, 1, 3);
        Tensor rates = backend.memory().allocate(MemoryKind.WEIGHTS, "rates", backend.precision().accumulation(),
                values.length);
        for (int h = 0; h < values.length; h++) {
            rates.set(h, values[h]);
        }
        return rates;
    }

    private Tensor tensor(Backend backend, String name, long tokens) {
        DType dtype = backend.precision().activations();
        return backend.memory().allocate(MemoryKind.ACTIVATIONS, name, dtype, tokens, heads, headDim);
    }

    private Tensor random(Backend backend, String name, long tokens) {
        Tensor t = tensor(backend, name, tokens);
        SplittableRandom random = new SplittableRandom(name.hashCode());
        for (long i = 0; i < t.size(); i++) {
            t.setFlat(i, random.nextDouble() - 0.5);
        }
        return t;
    }
}
