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
        List<Boolean> lrpeLayers, DecaySchedule decay, DecayTemperature temperature, Gate gate, boolean scaleEmbedding,
        boolean bias, boolean tiedHead, double initStd, int padding, int bos, int eos) {

    /** How positions enter the model; the paper's first ablation. */
    public enum Position {
        /** LRPE in the layers listed, exponential decay in all: "Mix", and "LRPE-d" if all are listed. */
        LRPE_DECAY,
        /** Exponential decay only. */
        DECAY,
        /** LRPE in the layers listed, no decay. */
        LRPE
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
        if (lrpe && position == Position.DECAY) {
            throw new IllegalArgumentException("linear_use_lrpe_list asks for LRPE but the position is DECAY");
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

    /** √d or 1. */
    public double embeddingScale() {
        return scaleEmbedding ? Math.sqrt(width) : 1;
    }

    /** Decay rates of the heads in a layer. */
    public double[] rates(int layer) {
        return (position == Position.LRPE ? DecaySchedule.NONE : decay).rates(temperature, heads, layer, layers);
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
        return layers * block + lrpe + perNorm * d + (tiedHead ? 1 : 2) * (long) vocabulary * d;
    }

    private static void positive(String key, int value) {
        if (value < 1) {
            throw new IllegalArgumentException("%s must be at least 1, not %d".formatted(key, value));
        }
    }
}
