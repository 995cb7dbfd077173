package org.transnormer.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.stream.LongStream;
import org.eclipse.collections.api.factory.Maps;
import org.eclipse.collections.api.map.MutableMap;
import org.transnormer.backend.Precision;
import org.transnormer.gla.Gla;
import org.transnormer.model.Parameter.Initialisation;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.sglu.Sglu;
import org.transnormer.srmsnorm.NormParameters;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * All parameters of a model under their checkpoint names, and their gradients: the whole model's, or one rank's parts
 * of them under tensor parallelism. SPEC sections 2.3 and 7.1. Matrices are in the
 * weights' type; θ, norm weights and biases are in the accumulation type. One group of each per block, W1 directly
 * before W2.
 */
public final class Weights {
    /** Elements that a thread fills at a time. */
    private static final long CHUNK = 1 << 16;
    /** Values that one thread draws at a time. */
    private static final int DRAWN = 1 << 12;

    private final ModelConfig config;
    private final ShardTable shards;
    private final DataParallel data;
    private final List<ParameterGroup> matrices = new ArrayList<>();
    private final List<ParameterGroup> groups = new ArrayList<>();
    private final MutableMap<String, Parameter> byName = Maps.mutable.empty();
    private final Parameter embedding;
    private final Parameter positions;
    private final Parameter head;

    /**
     * The whole model.
     *
     * @param training whether to allocate gradients
     */
    public Weights(ModelConfig config, Precision precision, Memory memory, boolean training) {
        this(config, precision, memory, training, ShardTable.single(config));
    }

    /**
     * What a rank holds.
     *
     * @param training whether to allocate gradients
     */
    public Weights(ModelConfig config, Precision precision, Memory memory, boolean training, ShardTable shards) {
        this(config, precision, memory, training, shards, DataParallel.single());
    }

    /**
     * What a rank holds where others read other data.
     *
     * @param training whether to allocate gradients
     */
    public Weights(ModelConfig config, Precision precision, Memory memory, boolean training, ShardTable shards,
            DataParallel data) {
        this.config = config;
        this.shards = shards;
        this.data = data;
        long v = config.vocabulary();
        long padded = config.paddedVocabulary();
        long d = config.width();
        ParameterGroup table = matrices("embedding", precision);
        embedding = register(table.add("model.embed_tokens.weight", Initialisation.EMBEDDING, v, padded, d));
        positions = config.positions() == 0 ? null
                : register(matrices("positions", precision).add("model.embed_positions.weight", Initialisation.NORMAL,
                        config.positions(), config.positions(), d));
        for (int layer = 0; layer < config.layers(); layer++) {
            block(layer, precision);
        }
        ParameterGroup last = vectors("final_norm", precision);
        norm(last, "model.final_norm", d);
        if (config.tiedHead()) {
            head = embedding;
        } else {
            head = register(matrices("lm_head", precision).add("lm_head.weight", Initialisation.NORMAL, v, padded, d));
        }
        groups.removeIf(g -> g.parameters().isEmpty());
        groups.forEach(group -> group.cut(data));
        List<Slot> slots = slots(memory, training);
        for (ParameterGroup group : groups) {
            int layer = matrices.indexOf(group);
            if (slots.isEmpty() || layer < 0) {
                group.allocate(memory, training);
            } else {
                group.allocateShare(memory, training, slots.get(layer % slots.size()));
            }
        }
    }

    /** Two, so that one layer's matrices come while the other's are in use; none where each has its own memory. */
    private List<Slot> slots(Memory memory, boolean training) {
        List<Slot> slots = new ArrayList<>();
        for (int i = 0; data.mode() == DataParallel.Mode.FULLY_SHARDED && i < Math.min(2, config.layers()); i++) {
            slots.add(new Slot(i, memory, matrices.getFirst(), training));
        }
        return slots;
    }

    private void block(int layer, Precision precision) {
        String prefix = "model.layers." + layer + ".";
        long d = config.width();
        long hidden = config.hidden();
        long projected = config.projectionGroups() * hidden;
        long g = config.gluWidth();
        ParameterGroup group = matrices("layers." + layer, precision);
        matrices.add(group);
        ParameterGroup vectors = vectors("layers." + layer + ".vectors", precision);
        register(group.add(prefix + "token_mixer.qkvu_proj.weight", Initialisation.NORMAL, projected, projected, d));
        register(group.add(prefix + "token_mixer.out_proj.weight", Initialisation.NORMAL, d, d, hidden));
        register(group.add(prefix + "channel_mixer.l1.weight", Initialisation.NORMAL, g, g, d));
        register(group.append(prefix + "channel_mixer.l2.weight", Initialisation.NORMAL, g, g, d));
        register(group.add(prefix + "channel_mixer.l3.weight", Initialisation.NORMAL, d, d, g));
        norm(vectors, prefix + "token_norm", d);
        norm(vectors, prefix + "token_mixer.norm", hidden);
        norm(vectors, prefix + "channel_norm", d);
        if (config.lrpeLayers().get(layer)) {
            register(vectors.add(prefix + "token_mixer.lrpe.theta", Initialisation.THETA, config.heads(),
                    config.heads(), 1, config.headDim()));
        }
        if (config.bias()) {
            register(vectors.add(prefix + "token_mixer.qkvu_proj.bias", Initialisation.ZERO, projected, projected));
            register(vectors.add(prefix + "token_mixer.out_proj.bias", Initialisation.ZERO, d, d));
            register(vectors.add(prefix + "channel_mixer.l1.bias", Initialisation.ZERO, g, g));
            register(vectors.append(prefix + "channel_mixer.l2.bias", Initialisation.ZERO, g, g));
            register(vectors.add(prefix + "channel_mixer.l3.bias", Initialisation.ZERO, d, d));
        }
    }

    private void norm(ParameterGroup group, String name, long width) {
        if (config.norm().hasWeight()) {
            register(group.add(name + ".weight", Initialisation.ONE, width, width));
        }
        if (config.norm().hasBias()) {
            register(group.add(name + ".bias", Initialisation.ZERO, width, width));
        }
    }

    private ParameterGroup matrices(String name, Precision precision) {
        ParameterGroup group = new ParameterGroup(name, shards, precision.weights(), precision.accumulation(), true);
        groups.add(group);
        return group;
    }

    private ParameterGroup vectors(String name, Precision precision) {
        ParameterGroup group =
                new ParameterGroup(name, shards, precision.accumulation(), precision.accumulation(), false);
        groups.add(group);
        return group;
    }

    private Parameter register(Parameter p) {
        byName.put(p.name(), p);
        return p;
    }

    /** How the parameters are split over ranks, and which part this is. */
    public ShardTable shards() {
        return shards;
    }

    /** How the ranks that read different data share the parameters. */
    public DataParallel dataParallel() {
        return data;
    }

    /**
     * The elements of a parameter, in its group's buffers, that this rank writes into a checkpoint: every element of the
     * whole is one rank's, and what several keep is written by turns. SPEC section 6.3.
     */
    public Span written(Parameter p) {
        Span span = p.savedSpan().and(p.group().share());
        if (!data.isSharded()) {
            span = span.part(data.communicator().rank(), data.communicator().size());
        }
        return p.shard().isReplicated() ? span.part(shards.rank(), shards.size()) : span;
    }

    /** The matrices of a block. */
    ParameterGroup matrices(int layer) {
        return matrices.get(layer);
    }

    boolean isMatricesOfBlock(ParameterGroup group) {
        return matrices.contains(group);
    }

    /**
     * Makes the matrices of a layer ready for use, and begins to bring those of the one that comes after it.
     *
     * @param next number of that layer; none if there is no such layer
     */
    void enter(int layer, int next) {
        if (!matrices.get(layer).isGathered()) {
            return;
        }
        data.gather(matrices.get(layer));
        data.await();
        if (next >= 0 && next < matrices.size()) {
            data.gather(matrices.get(next));
        }
    }

    /** Fills all parameters: the same values on every backend and layout. SPEC section 2.4. */
    public void initialise(long seed) {
        // What goes to a device is drawn while what was drawn before it is copied.
        Optional<CompletableFuture<Drawn>> last = Optional.empty();
        for (ParameterGroup group : groups) {
            for (Parameter p : group.parameters()) {
                Optional<CompletableFuture<Drawn>> next = initialise(p, seed);
                last.ifPresent(drawn -> drawn.join().place());
                last = next;
            }
        }
        last.ifPresent(drawn -> drawn.join().place());
    }

    /** Values on the host for a tensor of a device. */
    private record Drawn(Tensor values, Arena memory, Tensor to) {
        void place() {
            try (memory) {
                to.copyFrom(values);
            }
        }
    }

    /** Only what this rank keeps is drawn; what is to be placed is returned. */
    private Optional<CompletableFuture<Drawn>> initialise(Parameter p, long seed) {
        Span span = p.savedSpan().and(p.group().kept());
        if (span.isEmpty()) {
            return Optional.empty();
        }
        Tensor t = p.group().kept(span);
        if (!(t.storage() instanceof Storage.Device)) {
            initialise(p, span.from(p.offset()), t, seed);
            return Optional.empty();
        }
        return Optional.of(CompletableFuture.supplyAsync(() -> {
            Arena memory = Arena.ofShared();
            Tensor onHost = Tensor.allocate(memory, p.name(), t.dtype(), t.shape());
            initialise(p, span.from(p.offset()), onHost, seed);
            return new Drawn(onHost, memory, t);
        }));
    }

    /** Element i depends on nothing but the seed, the name and i: threads share the work. */
    private void initialise(Parameter p, Span span, Tensor t, long seed) {
        RandomStream random = new RandomStream(seed, Purpose.INITIAL_WEIGHTS, p.name());
        LongStream.range(0, Math.ceilDiv(span.size(), CHUNK)).parallel().forEach(chunk -> {
            RandomStream.Normals normals = random.new Normals();
            double[] values = new double[DRAWN];
            long end = Math.min(span.to(), span.from() + (chunk + 1) * CHUNK);
            long run;
            for (long first = span.from() + chunk * CHUNK; first < end; first += run) {
                run = Math.min(Math.min(end - first, values.length), p.shard().runFrom(first, p.shape()));
                fill(p, normals, p.shard().wholeIndex(first, p.shape()), values, (int) run);
                for (int i = 0; i < run; i++) {
                    t.set(first - span.from() + i, values[i]);
                }
            }
        });
        if (p.initialisation() == Initialisation.EMBEDDING && config.padding() >= 0) {
            long row = config.padding() - (long) shards.firstToken();
            Span padding = new Span(row * config.width(), (row + 1) * config.width()).and(span);
            if (!padding.isEmpty()) {
                padding.from(span.from()).of(t).fill(0);
            }
        }
    }

    /** Elements of a whole parameter from number {@code first} on. */
    private void fill(Parameter p, RandomStream.Normals normals, long first, double[] values, int count) {
        switch (p.initialisation()) {
            case NORMAL, EMBEDDING -> {
                normals.fill(first, values, count);
                for (int i = 0; i < count; i++) {
                    values[i] *= config.initStd();
                }
            }
            case ZERO -> Arrays.fill(values, 0, count, 0);
            case ONE -> Arrays.fill(values, 0, count, 1);
            case THETA -> {
                for (int i = 0; i < count; i++) {
                    values[i] = StrictMath.pow(10_000, -2.0 * (first + i) / config.hidden());
                }
            }
        }
    }

    /** Elements of all parameters of the whole model, padding not counted. */
    public long count() {
        return config.parameterCount();
    }

    /** In the order of the forward. */
    public List<ParameterGroup> groups() {
        return List.copyOf(groups);
    }

    /** Every parameter in the order of the forward; a tied head is not listed again. */
    public List<Parameter> parameters() {
        return groups.stream().flatMap(g -> g.parameters().stream()).toList();
    }

    /**
     * The parameter of a name.
     *
     * @throws IllegalArgumentException if the model has none of that name
     */
    public Parameter parameter(String name) {
        Parameter p = byName.get(name);
        if (p == null) {
            throw new IllegalArgumentException("the model has no parameter " + name);
        }
        return p;
    }

    /** (Vp, d). */
    public Parameter embedding() {
        return embedding;
    }

    /** (positions, d), or null where positions enter otherwise. */
    public Parameter positions() {
        return positions;
    }

    /** (Vp, d); the embedding itself where the head is tied. */
    public Parameter head() {
        return head;
    }

    /** A norm's parameters, or their gradients. */
    NormParameters norm(String name, boolean gradients) {
        return new NormParameters(optional(name + ".weight", gradients), optional(name + ".bias", gradients));
    }

    /** A token mixer's parameters, or their gradients. */
    Gla.Parameters gla(int layer, boolean gradients) {
        String prefix = "model.layers." + layer + ".token_mixer.";
        Tensor theta = optional(prefix + "lrpe.theta", gradients);
        return new Gla.Parameters(optional(prefix + "qkvu_proj.weight", gradients),
                optional(prefix + "qkvu_proj.bias", gradients), optional(prefix + "out_proj.weight", gradients),
                optional(prefix + "out_proj.bias", gradients),
                theta == null ? null : theta.reshape(theta.dim(0), config.headDim()));
    }

    /** A channel mixer's parameters, or their gradients, W1 and W2 as one matrix. */
    Sglu.Parameters sglu(int layer, boolean gradients) {
        String prefix = "model.layers." + layer + ".channel_mixer.";
        return new Sglu.Parameters(joined(prefix + "l1.weight", gradients), joined(prefix + "l1.bias", gradients),
                optional(prefix + "l3.weight", gradients), optional(prefix + "l3.bias", gradients));
    }

    private Tensor optional(String name, boolean gradients) {
        Parameter p = byName.get(name);
        return p == null ? null : gradients ? p.gradient() : p.value();
    }

    /** The parameter and the one of the same shape behind it. */
    private Tensor joined(String name, boolean gradients) {
        Parameter p = byName.get(name);
        if (p == null) {
            return null;
        }
        Tensor flat = gradients ? p.group().gradient() : p.group().value();
        long[] shape = p.shape().clone();
        shape[0] *= 2;
        return Tensor.of(p.name(), flat.dtype(), flat.storage(), p.offset(), shape);
    }
}
