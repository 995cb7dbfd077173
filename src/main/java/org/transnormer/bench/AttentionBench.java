package org.transnormer.bench;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Mark;
import org.transnormer.backend.Precision;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * Lightning Attention on sequences of T tokens. Linear attention takes the same time per token whatever T. The number of
 * tokens in all is that of the longest sequence for every T: so all come from the same level of memory, as they do in a
 * model, whose other layers have been through the caches since.
 *
 * @param heads H
 * @param headDim of keys and of values
 */
public record AttentionBench(int heads, int headDim) {

    /**
     * What one length came to.
     *
     * @param tokens T
     * @param sequences how many of them at a time
     * @param forward one pass over all of them
     * @param both forward and backward
     */
    public record Result(long tokens, long sequences, Timing forward, Timing both) {
        /** Nanoseconds per token of what took as long as this. */
        public double perToken(Timing timing) {
            return timing.median() / (tokens * sequences);
        }
    }

    /** Measures all lengths in turns. */
    public List<Result> run(List<Long> lengths, BackendKind kind, Precision precision, int threads, double seconds) {
        long most = lengths.stream().mapToLong(Long::longValue).max().orElseThrow();
        try (Backend backend = kind.open(precision, threads)) {
            Tensor q = random(backend, "q", most);
            Tensor k = random(backend, "k", most);
            Tensor v = random(backend, "v", most);
            Tensor dout = random(backend, "dout", most);
            Tensor o = tensor(backend, "o", most);
            Tensor dq = tensor(backend, "dq", most);
            Tensor dk = tensor(backend, "dk", most);
            Tensor dv = tensor(backend, "dv", most);
            Tensor rates = rates(backend, heads);
            List<Runnable> calls = new ArrayList<>();
            for (long length : lengths) {
                Sequences sequences = sequences(backend, length, most / length);
                long n = sequences.tokens();
                Runnable forward =
                        () -> backend.lightning().forward(q.slice(0, 0, n), k.slice(0, 0, n), v.slice(0, 0, n), rates,
                                sequences, null, null, o.slice(0, 0, n), null);
                calls.add(finished(backend, forward));
                calls.add(finished(backend, () -> {
                    forward.run();
                    backend.lightning().backward(q.slice(0, 0, n), k.slice(0, 0, n), v.slice(0, 0, n), rates, sequences,
                            null, null, dout.slice(0, 0, n), null, dq.slice(0, 0, n), dk.slice(0, 0, n),
                            dv.slice(0, 0, n), null);
                }));
            }
            List<Timing> timings = Timing.inTurns(seconds, calls);
            List<Result> results = new ArrayList<>();
            for (int i = 0; i < lengths.size(); i++) {
                long length = lengths.get(i);
                results.add(new Result(length, most / length, timings.get(2 * i), timings.get(2 * i + 1)));
            }
            return results;
        }
    }

    /** The call, and the wait for what it enqueued. */
    private static Runnable finished(Backend backend, Runnable call) {
        return () -> {
            call.run();
            Mark end = backend.mark();
            end.nanosSince(end);
            end.release();
        };
    }

    private static Sequences sequences(Backend backend, long length, long count) {
        Sequences sequences = Sequences.allocate(backend.memory(), Math.toIntExact(count), count * length);
        for (long i = 0; i < count; i++) {
            sequences.add(length, 0, Sequences.NO_SLOT);
        }
        sequences.upload();
        return sequences;
    }

    /** Those of the middle one of three layers. */
    static Tensor rates(Backend backend, int heads) {
        double[] values = DecaySchedule.RELEASED.rates(DecayTemperature.BY_LAYER, heads, 1, 3);
        Tensor rates = backend.memory().allocate(MemoryKind.WEIGHTS, "rates", backend.precision().accumulation(),
                values.length);
        rates.copyFrom(Tensor.of(values));
        return rates;
    }

    private Tensor tensor(Backend backend, String name, long tokens) {
        DType dtype = backend.precision().activations();
        return backend.memory().allocate(MemoryKind.ACTIVATIONS, name, dtype, tokens, heads, headDim);
    }

    private Tensor random(Backend backend, String name, long tokens) {
        return RandomTensors.allocate(backend.memory(), name, backend.precision().activations(), tokens, heads,
                headDim);
    }
}
