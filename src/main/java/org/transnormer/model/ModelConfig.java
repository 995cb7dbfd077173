package org.transnormer.model;

import java.util.List;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.srmsnorm.NormType;

/**
 * What a model is: the released configuration keys and what the paper's ablations vary. SPEC section 2.2.
 *
 * @param vocabulary tokens, vocab_size
 * @param width d, decoder_embed_dim
 * @param layers L, decoder_layers
 * @param heads H, decoder_attention_heads
 * @param hidden D, hidden_dim: channels of q, k, v and u over all heads; differs from d only without LRPE
 * @param gluWidth g, glu_dim
 * @param norm norm_type, for every norm of the model
 * @param attentionActivation φ of q and k, linear_act_fun
 * @param gluActivation of the first GLU branch; the identity in TransNormerLLM
 * @param position how positions enter
 * @param positions rows of the table of absolute positions, tnl.max_position_embeddings: the longest sequence; 0 unless
 *     position says ABSOLUTE
 * @param lrpeLayers which layers use LRPE, linear_use_lrpe_list; all false unless position says LRPE
 * @param decay base decay rates of the heads
 * @param temperature how the rates depend on the layer
 * @param gate the gate after the attention
 * @param scaleEmbedding whether the embedding is multiplied by √d, not no_scale_embedding
 * @param bias whether the projections have biases
 * @param tiedHead whether the head is the embedding table
 * @param initStd standard deviation of initial weights
 * @param padding padding token, whose embedding row gets no gradient from the embedding, or -1
 * @param bos first token of a text
 * @param eos last token of a text
 */
public record ModelConfig(int vocabulary, int width, int layers, int heads, int hidden, int gluWidth, NormType norm,
        ActivationFunction attentionActivation, ActivationFunction gluActivation, Position position,
        int positions, List<Boolean> lrpeLayers, DecaySchedule decay, DecayTemperature temperature, Gate gate,
        boolean scaleEmbedding,
        boolean bias, boolean tiedHead, double initStd, int padding, int bos, int eos) {

    /** How positions enter the model; the paper's first ablation. */
    public enum Position {
        /** LRPE in the layers listed, exponential decay in all: "Mix", and "LRPE-d" if all are listed. */
        LRPE_DECAY,
        /** Exponential decay only. */
        DECAY,
        /** LRPE in the layers listed, no decay. */
        LRPE,
        /** A learned table of absolute positions added to the embedding, no LRPE, no decay: "APE". */
        ABSOLUTE
    }

    /** What multiplies the normed attention output. */
    public enum Gate {
        /** u, a fourth projection, without activation. */
        LINEAR,
        /** Nothing. */
        NONE
    }

    /** Rows are padded to this in memory, so that rows of logits align. */
    private static final int VOCABULARY_ALIGNMENT = 16;

    /** @throws IllegalArgumentException naming the key that does not fit and why */
    public ModelConfig {
        positive("vocab_size", vocabulary);
        positive("decoder_embed_dim", width);
        positive("decoder_layers", layers);
        positive("decoder_attention_heads", heads);
        positive("hidden_dim", hidden);
        positive("glu_dim", gluWidth);
        lrpeLayers = List.copyOf(lrpeLayers);
        if (hidden % heads != 0) {
            throw new IllegalArgumentException(
                    "hidden_dim %d is not a multiple of decoder_attention_heads %d".formatted(hidden, heads));
        }
        if (lrpeLayers.size() != layers) {
            throw new IllegalArgumentException("linear_use_lrpe_list has %d entries for %d layers"
                    .formatted(lrpeLayers.size(), layers));
        }
        boolean lrpe = lrpeLayers.contains(true);
        if (lrpe && (position == Position.DECAY || position == Position.ABSOLUTE)) {
            throw new IllegalArgumentException("linear_use_lrpe_list asks for LRPE but the position is " + position);
        }
        if (position == Position.ABSOLUTE ? positions < 1 : positions != 0) {
            throw new IllegalArgumentException(
                    "tnl.max_position_embeddings must be %s where the position is %s, not %d".formatted(
                            position == Position.ABSOLUTE ? "1 or more" : "absent", position, positions));
        }
        if (lrpe && hidden != width) {
            throw new IllegalArgumentException("LRPE needs hidden_dim = decoder_embed_dim, not %d and %d"
                    .formatted(hidden, width));
        }
        if (!(initStd > 0)) {
            throw new IllegalArgumentException("init_std must be positive, not " + initStd);
        }
        if (padding < -1 || padding >= vocabulary) {
            throw new IllegalArgumentException("pad_token_id %d is not a token of %d".formatted(padding, vocabulary));
        }
    }

    /** The same with a head of its own weights. */
    public ModelConfig withSeparateHead() {
        return new ModelConfig(vocabulary, width, layers, heads, hidden, gluWidth, norm, attentionActivation,
                gluActivation, position, positions, lrpeLayers, decay, temperature, gate, scaleEmbedding, bias, false,
                initStd, padding, bos, eos);
    }

    /** d_h = D / H. */
    public int headDim() {
        return hidden / heads;
    }

    /** Vp: rows of the embedding and the head in memory; rows from V on are zero and take no part in the loss. */
    public int paddedVocabulary() {
        return Math.ceilDiv(vocabulary, VOCABULARY_ALIGNMENT) * VOCABULARY_ALIGNMENT;
    }

    /** Row groups of the projection: q, k, v and, with a gate, u. */
    public int projectionGroups() {
        return gate == Gate.LINEAR ? 4 : 3;
    }

    /**
     * Floating-point operations per token of training's products of activations with matrices: two per element of every
     * projection and of the head forwards, four backwards. Neither attention nor what is computed again is counted.
     */
    public double trainingFlops() {
        double layer = (projectionGroups() + 1.0) * hidden * width + 3.0 * gluWidth * width;
        return 6 * (layers * layer + (double) paddedVocabulary() * width);
    }

    /** √d or 1. */
    public double embeddingScale() {
        return scaleEmbedding ? Math.sqrt(width) : 1;
    }

    /** Decay rates of the heads in a layer. */
    public double[] rates(int layer) {
        boolean decays = position == Position.LRPE_DECAY || position == Position.DECAY;
        return (decays ? decay : DecaySchedule.NONE).rates(temperature, heads, layer, layers);
    }

    /** Tokens that a sequence may have: only a table of positions ends. */
    public long maxSequence() {
        return position == Position.ABSOLUTE ? positions : Integer.MAX_VALUE;
    }

    /**
     * Refuses a sequence that does not end within the table of absolute positions.
     *
     * @param tokens of the sequence from its position 0
     * @throws IllegalArgumentException naming both and the cure
     */
    public void checkSequence(long tokens) {
        if (tokens > maxSequence()) {
            throw new IllegalArgumentException(("a sequence of %,d tokens has positions that the model lacks: its "
                    + "max_position_embeddings is %,d; take shorter sequences, or a model without absolute positions")
                    .formatted(tokens, positions));
        }
    }

    /** All parameters, the padding of the vocabulary not counted. */
    public long parameterCount() {
        long d = width;
        long block = projectionGroups() * hidden * d + d * hidden + 3L * gluWidth * d;
        if (bias) {
            block += (long) projectionGroups() * hidden + d + 2L * gluWidth + d;
        }
        long perNorm = (norm.hasWeight() ? 1 : 0) + (norm.hasBias() ? 1 : 0);
        block += perNorm * (2 * d + hidden);
        long lrpe = lrpeLayers.stream().filter(x -> x).count() * hidden;
        return layers * block + lrpe + perNorm * d + positions * d + (tiedHead ? 1 : 2) * (long) vocabulary * d;
    }

    private static void positive(String key, int value) {
        if (value < 1) {
            throw new IllegalArgumentException("%s must be at least 1, not %d".formatted(key, value));
        }
    }
}
