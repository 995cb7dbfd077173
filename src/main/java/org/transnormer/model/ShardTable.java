package org.transnormer.model;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.parallel.Shard;

/**
 * How each parameter is split under tensor parallelism, and what of the model one rank holds. SPEC section 7.1.
 *
 * <p>Rank n of N holds heads [nH/N, (n+1)H/N), the channels of the GLU and the rows of the vocabulary likewise; the
 * residual stream, and what belongs to it alone, is whole on every rank.
 */
public final class ShardTable {

    /** What a parameter is split by. */
    private enum By {
        /** Not at all: a parameter of the residual stream. */
        NOTHING(Shard.NONE),
        /** Rows: tokens, the padding of the vocabulary included. */
        VOCABULARY(0),
        /** Rows: the heads of q, then those of k, of v and of u. */
        HEADS_OF_EACH_GROUP(0),
        /** Rows, entries: heads, or their channels. */
        HEADS(0),
        /** Columns: the channels of the heads. */
        INPUTS_BY_HEAD(1),
        /** Rows, entries: channels of the GLU. */
        GLU(0),
        /** Columns: channels of the GLU. */
        INPUTS_OF_GLU(1);

        private final int axis;

        By(int axis) {
            this.axis = axis;
        }
    }

    /** One line of the table: every name that fits the pattern is split so. */
    private record Line(Pattern name, By by) {
        static Line of(String regex, By by) {
            return new Line(Pattern.compile(regex), by);
        }
    }

    private static final String LAYER = "model\\.layers\\.\\d+\\.";
    private static final String ANY = "\\.(weight|bias)";
    private static final List<Line> TABLE = List.of(
            Line.of("model\\.embed_tokens\\.weight", By.VOCABULARY),
            Line.of("lm_head\\.weight", By.VOCABULARY),
            Line.of("model\\.embed_positions\\.weight", By.NOTHING),
            Line.of(LAYER + "token_norm" + ANY, By.NOTHING),
            Line.of(LAYER + "token_mixer\\.qkvu_proj" + ANY, By.HEADS_OF_EACH_GROUP),
            Line.of(LAYER + "token_mixer\\.lrpe\\.theta", By.HEADS),
            Line.of(LAYER + "token_mixer\\.norm" + ANY, By.HEADS),
            Line.of(LAYER + "token_mixer\\.out_proj\\.weight", By.INPUTS_BY_HEAD),
            Line.of(LAYER + "token_mixer\\.out_proj\\.bias", By.NOTHING),
            Line.of(LAYER + "channel_norm" + ANY, By.NOTHING),
            Line.of(LAYER + "channel_mixer\\.l[12]" + ANY, By.GLU),
            Line.of(LAYER + "channel_mixer\\.l3\\.weight", By.INPUTS_OF_GLU),
            Line.of(LAYER + "channel_mixer\\.l3\\.bias", By.NOTHING),
            Line.of("model\\.final_norm" + ANY, By.NOTHING));

    private final ModelConfig config;
    private final int rank;
    private final int size;

    /**
     * @param rank 0 to size - 1
     * @param size ranks
     * @throws IllegalArgumentException if the model cannot be split so, naming what does not divide and which sizes do
     */
    public ShardTable(ModelConfig config, int rank, int size) {
        if (size < 1 || rank < 0 || rank >= size) {
            throw new IllegalArgumentException("there is no rank %d of %d".formatted(rank, size));
        }
        this.config = config;
        this.rank = rank;
        this.size = size;
        if (size > 1 && config.gluActivation() == ActivationFunction.EXP) {
            throw new IllegalArgumentException(
                    "the GLU's activation is exp, which needs the maximum over all channels: "
                            + "tensor parallelism would split them; sizes that would do: 1");
        }
        if (!divides(config, size)) {
            List<String> faults = new ArrayList<>();
            fault(faults, "decoder_attention_heads", config.heads());
            fault(faults, "glu_dim", config.gluWidth());
            fault(faults, "the padded vocabulary", config.paddedVocabulary());
            throw new IllegalArgumentException("tensor parallelism over %d ranks needs multiples of %d: %s; sizes that "
                    .formatted(size, size, String.join(", ", faults)) + "would do: "
                    + IntStream.rangeClosed(1, config.heads()).filter(n -> divides(config, n)).mapToObj(String::valueOf)
                            .collect(Collectors.joining(", ")));
        }
    }

    /** Whether a model can be split over so many ranks. */
    public static boolean canSplit(ModelConfig config, int size) {
        return size == 1 || config.gluActivation() != ActivationFunction.EXP && divides(config, size);
    }

    private static boolean divides(ModelConfig config, int n) {
        return config.heads() % n == 0 && config.gluWidth() % n == 0 && config.paddedVocabulary() % n == 0;
    }

    private void fault(List<String> faults, String what, int value) {
        if (value % size != 0) {
            faults.add("%s is %,d".formatted(what, value));
        }
    }

    /** The table of a model that one process holds whole. */
    public static ShardTable single(ModelConfig config) {
        return new ShardTable(config, 0, 1);
    }

    public int rank() {
        return rank;
    }

    public int size() {
        return size;
    }

    /**
     * This rank's part of a parameter.
     *
     * @param name as in a checkpoint
     * @throws IllegalArgumentException if the table has no line for it
     */
    public Shard of(String name) {
        for (Line line : TABLE) {
            if (line.name().matcher(name).matches()) {
                return new Shard(line.by().axis,
                        line.by() == By.HEADS_OF_EACH_GROUP ? config.projectionGroups() : 1, rank, size);
            }
        }
        throw new IllegalArgumentException("the table of shards has no line for " + name);
    }

    /** Heads of this rank. */
    public int heads() {
        return config.heads() / size;
    }

    /** Number of its first head in the model. */
    public int firstHead() {
        return rank * heads();
    }

    /** Channels of the GLU of this rank. */
    public int gluWidth() {
        return config.gluWidth() / size;
    }

    /** Number of its first row of the embedding and of the head. */
    public int firstToken() {
        return rank * (config.paddedVocabulary() / size);
    }

    /** Its rows of the embedding and of the head that are tokens and not padding; the last ranks may have none. */
    public int tokens() {
        return Math.clamp((long) config.vocabulary() - firstToken(), 0, config.paddedVocabulary() / size);
    }
}
