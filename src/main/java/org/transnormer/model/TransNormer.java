package org.transnormer.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.transnormer.backend.Backend;
import org.transnormer.backend.Precision;
import org.transnormer.gla.Gla;
import org.transnormer.gla.GlaBuffers;
import org.transnormer.gla.LayerStates;
import org.transnormer.gla.PassedStates;
import org.transnormer.head.HeadLoss;
import org.transnormer.lightning.Border;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.RowSums;
import org.transnormer.sglu.Sglu;
import org.transnormer.sglu.SgluBuffers;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.srmsnorm.NormParameters;
import org.transnormer.tensor.Buffer;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Trace;

/**
 * TransNormerLLM, forward and backward: only the order of component calls, for every backend. SPEC section 2.1.
 *
 * <pre>
 * x = √d · E[ids]                         (+ P[positions] where positions are absolute)
 * for each layer:  x = x + GLA(norm(x));  x = x + SGLU(norm(x))
 * loss = cross-entropy(norm(x) Wᵀ)
 * </pre>
 */
public final class TransNormer {

    /** What the model's buffers are for. */
    public enum Mode {
        /** Every layer keeps what its backward needs. */
        TRAINING,
        /** Layers share their buffers. */
        INFERENCE
    }

    private final Backend backend;
    private final Communicator communicator;
    private final ModelConfig config;
    private final Weights weights;
    private final ShardTable shards;
    private final boolean training;
    private final long maxTokens;
    private final RowSums rowSums;
    private final Buffer embedded;
    private final InputEmbedding input;
    private final List<Block> blocks = new ArrayList<>();
    private final List<LayerStates> states = new ArrayList<>();
    private final NormLayer finalNorm;
    private final Buffer finalStatistics;
    private final Buffer finalNormed;
    private final Buffer finalSums;
    private final Buffer dstream;
    private final Buffer losses;
    private final HeadLoss head;
    private final GradientSums sums;

    /** A model that computes nothing again. */
    public TransNormer(Backend backend, Communicator communicator, ModelConfig config, Weights weights, Mode mode,
            long maxTokens) {
        this(backend, communicator, config, weights, mode, maxTokens, Recompute.NONE);
    }

    /** A model that reads whole sequences. */
    public TransNormer(Backend backend, Communicator communicator, ModelConfig config, Weights weights, Mode mode,
            long maxTokens, Recompute recompute) {
        this(backend, communicator, config, weights, mode, maxTokens, recompute, SequenceParallel.single());
    }

    /**
     * @param communicator the ranks that the weights are split over
     * @param maxTokens most tokens of one batch
     * @param recompute what the backward computes again; NONE outside training
     * @param sequence the ranks that hold the other parts of the rows it is trained on
     * @throws org.transnormer.tensor.OutOfMemoryException if the buffers cannot be had
     */
    public TransNormer(Backend backend, Communicator communicator, ModelConfig config, Weights weights, Mode mode,
            long maxTokens, Recompute recompute, SequenceParallel sequence) {
        this.backend = backend;
        this.communicator = communicator;
        this.config = config;
        this.weights = weights;
        this.shards = weights.shards();
        if (communicator.size() != shards.size() || communicator.rank() != shards.rank()) {
            throw new IllegalArgumentException("rank %d of %d got the weights of rank %d of %d".formatted(
                    communicator.rank(), communicator.size(), shards.rank(), shards.size()));
        }
        this.training = mode == Mode.TRAINING;
        this.maxTokens = maxTokens;
        Memory memory = backend.memory();
        Precision precision = backend.precision();
        rowSums = training ? RowSums.beside(communicator) : RowSums.inOrder(communicator);
        embedded = stream("embed");
        addBlocks(memory, precision, recompute);
        addStates(memory, sequence);
        DType statistics = NormLayer.statisticsType(config.norm(), precision.accumulation());
        int columns = backend.norm(config.norm()).statistics();
        finalNorm = norm("model.final_norm", config.width(), Communicator.single());
        finalStatistics = Buffer.allocate(memory, MemoryKind.ACTIVATIONS, "final_norm.sums", statistics, maxTokens,
                columns);
        finalNormed = stream("final_norm");
        finalSums = training
                ? Buffer.allocate(memory, MemoryKind.ACTIVATIONS, "final_norm.backward sums", statistics, maxTokens,
                        columns)
                : null;
        dstream = training ? stream("dstream") : null;
        input = new InputEmbedding(backend, rowSums, config, weights, training ? maxTokens : 0);
        losses = Buffer.allocate(memory, MemoryKind.ACTIVATIONS, "losses", precision.accumulation(), maxTokens);
        head = new HeadLoss(backend, communicator, rowSums, weights.head().value(),
                training ? weights.head().gradient() : null, shards.tokens(), shards.firstToken(), maxTokens);
        sums = new GradientSums(backend, weights);
    }

    private void addBlocks(Memory memory, Precision precision, Recompute recompute) {
        Gla.Settings settings = new Gla.Settings(shards.heads(), config.headDim(), config.attentionActivation(),
                config.gate() == ModelConfig.Gate.LINEAR);
        GlaBuffers.Scratch glaScratch = new GlaBuffers.Scratch(memory, precision, settings, config.norm(),
                config.width(), training, rowSums.areWhole(), maxTokens);
        SgluBuffers.Scratch sgluScratch = new SgluBuffers.Scratch(memory, precision, config.norm(), config.width(),
                shards.gluWidth(), training, rowSums.areWhole(), maxTokens);
        GlaBuffers.Saved glaSaved = null;
        SgluBuffers.Saved sgluSaved = null;
        Buffer middle = training ? null : embedded;
        for (int layer = 0; layer < config.layers(); layer++) {
            boolean first = layer == 0;
            if (first || training && recompute != Recompute.FULL) {
                glaSaved = new GlaBuffers.Saved(memory, precision, settings, config.norm(), maxTokens,
                        recompute.attention() ? glaSaved : null);
                middle = training ? stream("mid." + layer) : embedded;
            }
            if (first || training && !recompute.up()) {
                sgluSaved = new SgluBuffers.Saved(memory, precision, config.norm(), shards.gluWidth(), maxTokens);
            }
            String name = "model.layers." + layer + ".";
            Gla gla = new Gla(backend, rowSums, settings, norm(name + "token_norm", config.width(),
                    Communicator.single()), norm(name + "token_mixer.norm", config.hidden(), communicator),
                    weights.gla(layer, false), training ? weights.gla(layer, true) : null, rates(memory, layer),
                    glaSaved, recompute.attention(), glaScratch);
            Sglu sglu = new Sglu(backend, rowSums, config.gluActivation(),
                    norm(name + "channel_norm", config.width(), Communicator.single()), weights.sglu(layer, false),
                    training ? weights.sglu(layer, true) : null, sgluSaved, recompute.up(), sgluScratch);
            blocks.add(new Block(gla, sglu, middle, training ? stream("out." + layer) : embedded, rowSums,
                    recompute == Recompute.FULL));
        }
    }

    /** Where sequences start and end that no {@link DecodeState} is given for. */
    private void addStates(Memory memory, SequenceParallel sequence) {
        Border border = sequence.border();
        if (border.slots() == 0) {
            blocks.forEach(_ -> states.add(LayerStates.NONE));
            return;
        }
        long most = IntStream.range(0, blocks.size()).mapToLong(layer -> LongStream.of(stateShape(layer))
                .reduce(1, Math::multiplyExact)).max().orElseThrow();
        Tensor passing = PassedStates.passing(memory, stateType(), border, most);
        for (int layer = 0; layer < blocks.size(); layer++) {
            long[] shape = stateShape(layer);
            states.add(new PassedStates(backend, sequence.beside(), border, "" + layer, Tensor.of(passing.name(),
                    passing.dtype(), passing.storage(), passing.offset(), border.slots(), shape[0], shape[1],
                    shape[2])));
        }
    }

    private Buffer stream(String name) {
        return Buffer.allocate(backend.memory(), MemoryKind.ACTIVATIONS, name, backend.precision().activations(),
                maxTokens, config.width());
    }

    /** The channels of the residual stream lie whole on every rank, those of the attention output are split. */
    private NormLayer norm(String name, long width, Communicator channels) {
        return new NormLayer(backend.norm(config.norm()), channels, width, weights.norm(name, false),
                training ? weights.norm(name, true) : NormParameters.NONE);
    }

    private Tensor rates(Memory memory, int layer) {
        double[] rates = Arrays.copyOfRange(config.rates(layer), shards.firstHead(),
                shards.firstHead() + shards.heads());
        Tensor t = memory.allocate(MemoryKind.WEIGHTS, "rates." + layer, backend.precision().accumulation(),
                rates.length);
        if (!(t.storage() instanceof Storage.Planned)) {
            t.copyFrom(Tensor.of(rates));
        }
        return t;
    }

    public ModelConfig config() {
        return config;
    }

    public Weights weights() {
        return weights;
    }

    public long maxTokens() {
        return maxTokens;
    }

    /** Shape of one sequence's state in a layer: (H, dk, dv), H the heads of this rank. */
    public long[] stateShape(int layer) {
        return blocks.get(layer).tokens().stateShape();
    }

    /** Type of the states: never narrower than F32. */
    public DType stateType() {
        return backend.precision().accumulation();
    }

    /**
     * The hidden states that the head reads, (T, d), valid until the next forward; T is the number of tokens of the
     * batch, all its sequences one after the other.
     *
     * @param state states before and, afterwards, behind each sequence of the batch, by slot; null: those with a slot of a
     *     {@link Border} come from the ranks that hold the other parts of the rows and go on there, all others start from
     *     zero, and none is kept
     * @param trace sees the embedding, each layer's tensors and the final norm, under the names of golden files (SPEC
     *     sections 4.1 and 6.5)
     */
    public Tensor forward(Batch batch, DecodeState state, Trace trace) {
        long tokens = batch.tokens();
        Tensor x = embedded.rows(tokens);
        input.forward(batch, x);
        if (trace.active()) {
            rowSums.await();
            trace.record("embed", x);
        }
        for (int layer = 0; layer < blocks.size(); layer++) {
            weights.enter(layer, layer + 1);
            x = blocks.get(layer).forward(x, batch.sequences(), batch.mask(),
                    state == null ? states.get(layer) : state.states(layer), trace,
                    trace.active() ? "layers." + layer : "");
        }
        rowSums.await();
        Tensor hidden = finalNormed.rows(tokens);
        finalNorm.forward(x, finalStatistics.rows(tokens), null, hidden);
        trace.record("final_norm", hidden);
        return hidden;
    }

    /** Loss of each token of the last forward, (T): 0 where the target is ignored. */
    public Tensor losses(Batch batch) {
        long tokens = batch.tokens();
        head.forward(finalNormed.rows(tokens), batch.targets(), batch.scale(), losses.rows(tokens));
        return losses.rows(tokens);
    }

    /**
     * Loss of each token of the last forward, (T), and the gradient of scale · Σ losses with respect to every
     * parameter.
     *
     * @param accumulate whether to add to the gradients there are or to start from zero
     * @param trace sees the gradient of the embedding and of each layer's output
     */
    public Tensor backward(Batch batch, boolean accumulate, Trace trace) {
        return backward(batch, accumulate, true, trace);
    }

    /**
     * The same for one of several micro-batches. After the last one the gradients, or this rank's share of them, are
     * those of all ranks' data.
     *
     * @param last whether it is the last one
     */
    public Tensor backward(Batch batch, boolean accumulate, boolean last, Trace trace) {
        long tokens = batch.tokens();
        if (!accumulate) {
            clearAccumulated();
        }
        Tensor dx = dstream.rows(tokens);
        head.forwardBackward(finalNormed.rows(tokens), batch.targets(), batch.scale(), losses.rows(tokens), dx,
                accumulate);
        Tensor x = blocks.getLast().out().rows(tokens);
        finalNorm.backward(x, finalStatistics.rows(tokens), null, dx, finalSums.rows(tokens), null, dx, null);
        for (int layer = blocks.size() - 1; layer >= 0; layer--) {
            if (trace.active()) {
                trace.record("layers." + layer + ".out", dx);
            }
            Tensor input = layer == 0 ? embedded.rows(tokens) : blocks.get(layer - 1).out().rows(tokens);
            weights.enter(layer, layer - 1);
            sums.before(layer, accumulate);
            blocks.get(layer).backward(input, batch.sequences(), batch.mask(), states.get(layer), dx, accumulate);
            sums.after(layer, last);
        }
        trace.record("embed", dx);
        input.backward(batch, dx);
        sums.finish(last);
        return losses.rows(tokens);
    }

    /** Zeroes the gradients that components only add to; the others are overwritten. */
    private void clearAccumulated() {
        for (ParameterGroup group : weights.groups()) {
            boolean embeddingAlone = group == weights.embedding().group() && !config.tiedHead();
            boolean ofPositions = weights.positions() != null && group == weights.positions().group();
            if (!group.decays() || embeddingAlone || ofPositions) {
                backend.zero(group.gradient());
            }
        }
    }

    /**
     * Logits of some of the last forward's tokens, (n, Vp), valid until the next call; only the first V columns mean
     * anything. Under tensor parallelism they are those of this rank's part of the vocabulary.
     *
     * @param from first token, inclusive
     * @param to last token, exclusive; at most {@link #logitsChunk} more than from
     */
    public Tensor logits(long tokens, long from, long to) {
        return head.logits(finalNormed.rows(tokens).slice(0, from, to));
    }

    /** The ranks that the weights are split over. */
    public Communicator communicator() {
        return communicator;
    }

    /** Most tokens that {@link #logits} takes at a time. */
    public long logitsChunk() {
        return head.chunk();
    }
}
