package org.transnormer.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.eclipse.collections.impl.list.mutable.primitive.DoubleArrayList;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.inference.RobustInference;
import org.transnormer.model.DecodeState;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ParameterGroup;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.Tensor;

/**
 * Token by token at different positions of a text. The recurrence takes the same time and the same memory at each.
 *
 * @param config of the model, which gets random weights
 */
public record DecodeBench(ModelConfig config) {
    private static final int CHUNK = 256;
    /** Tokens of a round: the rounds of all positions take turns, so that a disturbance hits all of them. */
    private static final int ROUND = 16;
    private static final int LEAST_ROUNDS = 5;

    /**
     * What decoding from one position came to.
     *
     * @param position tokens read before
     * @param reading nanoseconds per token of reading them, in chunks
     * @param token time of one token
     * @param allocated bytes on the Java heap per token
     * @param tensors bytes of all tensors
     * @param resident bytes of the process, 0 if the system does not tell
     * @param moved bytes that a token cannot do without: the matrices and the head read, one row of the embedding, the
     *     states read and written
     */
    public record Result(int position, double reading, Timing token, double allocated, long tensors, long resident,
            double moved) {
    }

    /** Reads up to each position, then decodes from each in turns. */
    public List<Result> run(List<Integer> positions, BackendKind kind, Precision precision, int threads,
            double seconds) {
        try (Backend backend = kind.open(precision, threads)) {
            Weights weights = new Weights(config, precision, backend.memory(), false);
            weights.initialise(1);
            TransNormer model = new TransNormer(backend, Communicator.single(), config, weights,
                    TransNormer.Mode.INFERENCE, CHUNK);
            RobustInference inference = new RobustInference(backend, model, positions.size() + 1);
            backend.commit();
            return run(positions, inference, backend.memory(), seconds, moved(weights, inference.state()));
        }
    }

    /** The rates, vectors and activations are less than a thousandth. */
    private double moved(Weights weights, DecodeState state) {
        double bytes = 0;
        for (ParameterGroup group : weights.groups()) {
            boolean embeddingOnly = group == weights.embedding().group() && !config.tiedHead();
            bytes += embeddingOnly ? 0 : (double) group.size() * group.dtype().bytes();
        }
        for (int layer = 0; layer < config.layers(); layer++) {
            Tensor one = state.layer(layer).select(0, 0);
            bytes += 2.0 * one.size() * one.dtype().bytes();
        }
        return bytes;
    }

    private List<Result> run(List<Integer> positions, RobustInference inference, Memory memory, double seconds,
            double moved) {
        int[] work = {positions.size()};
        int[] token = {1};
        Runnable decode = () -> inference.decode(work, token);
        double[] reading = new double[positions.size()];
        long[] tensors = new long[positions.size()];
        long[] resident = new long[positions.size()];
        Timing.of(seconds, decode);
        for (int slot = 0; slot < reading.length; slot++) {
            int[] text = new SplittableRandom(1).ints(positions.get(slot), 0, config.vocabulary()).toArray();
            long start = System.nanoTime();
            inference.extend(slot, text);
            reading[slot] = (double) (System.nanoTime() - start) / text.length;
            tensors[slot] = memory.plan().total();
            resident[slot] = ProcessMemory.now().orElse(0);
        }
        List<DoubleArrayList> times = positions.stream().map(position -> new DoubleArrayList()).toList();
        long start = System.nanoTime();
        while (times.getFirst().size() < LEAST_ROUNDS * ROUND || (System.nanoTime() - start) / 1e9 < seconds) {
            for (int slot = 0; slot < reading.length; slot++) {
                round(inference, slot, work[0], decode, times.get(slot));
            }
        }
        List<Result> results = new ArrayList<>();
        for (int slot = 0; slot < reading.length; slot++) {
            inference.state().copy(slot, inference.state(), work[0]);
            double allocated = HeapAllocation.bytesPerCall(ROUND, decode);
            results.add(new Result(positions.get(slot), reading[slot], Timing.summary(times.get(slot).toArray(), 0),
                    allocated, tensors[slot], resident[slot], moved));
        }
        return results;
    }

    private static void round(RobustInference inference, int slot, int work, Runnable decode, DoubleArrayList times) {
        inference.state().copy(slot, inference.state(), work);
        for (int i = 0; i < ROUND; i++) {
            long start = System.nanoTime();
            decode.run();
            times.add(System.nanoTime() - start);
        }
    }
}
