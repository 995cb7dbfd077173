package org.transnormer.model;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.srmsnorm.NormType;

/**
 * {@link ModelConfig} from and to the keys of the released {@code config.json}, with the meaning that the released code
 * gives them: missing keys take the class defaults, any norm but "simplermsnorm" is LayerNorm, any unknown activation
 * is the identity, glu_dim -1 is d. What the released keys cannot say stands in one extra object, {@code tnl}. SPEC
 * section 2.2.
 */
public final class ReleasedConfig {
    private static final String EXTENSION = "tnl";

    private ReleasedConfig() {
    }

    /**
     * Reads a configuration.
     *
     * @param json the parsed object
     * @param tiedByTensors whether the head is the embedding table, as the tensors show
     * @throws IllegalArgumentException naming the key that is missing or wrong, and why
     */
    public static ModelConfig parse(Map<String, ?> json, boolean tiedByTensors) {
        int width = integer(json, "decoder_embed_dim", 1024);
        int layers = integer(json, "decoder_layers", 24);
        int glu = integer(json, "glu_dim", 2816);
        Map<?, ?> extension = json.get(EXTENSION) instanceof Map<?, ?> m ? m : Map.of();
        boolean simple = "simplermsnorm".equals(json.containsKey("norm_type") ? json.get("norm_type")
                : "simplermsnorm");
        List<Boolean> lrpe = lrpeLayers(json, layers);
        return new ModelConfig(integer(json, "vocab_size", 64_000), width, layers,
                integer(json, "decoder_attention_heads", 8), integer(json, "hidden_dim", 1024), glu == -1 ? width : glu,
                option(extension, "norm", NormType.class, simple ? NormType.SRMSNORM : NormType.LAYERNORM),
                ActivationFunction.released(String.valueOf(json.containsKey("linear_act_fun")
                        ? json.get("linear_act_fun") : "silu")),
                option(extension, "glu_activation", ActivationFunction.class, ActivationFunction.IDENTITY),
                option(extension, "position", Position.class, Position.LRPE_DECAY),
                integer(extension, "max_position_embeddings", 0), lrpe,
                option(extension, "decay", DecaySchedule.class, DecaySchedule.RELEASED),
                option(extension, "decay_temperature", DecayTemperature.class, DecayTemperature.BY_LAYER),
                option(extension, "gate", Gate.class, Gate.LINEAR), !flag(json, "no_scale_embedding", false),
                flag(json, "bias", false), tiedByTensors, number(json, "init_std", 0.02),
                padding(json, integer(json, "vocab_size", 64_000)),
                integer(json, "bos_token_id", 1), integer(json, "eos_token_id", 2));
    }

    /** The released keys, and {@code tnl} where the model is none that they can describe. */
    public static Map<String, Object> toJson(ModelConfig c) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("model_type", "transnormer");
        json.put("architectures", List.of("TransnormerForCausalLM"));
        json.put("vocab_size", c.vocabulary());
        json.put("decoder_embed_dim", c.width());
        json.put("decoder_layers", c.layers());
        json.put("decoder_attention_heads", c.heads());
        json.put("hidden_dim", c.hidden());
        json.put("glu_dim", c.gluWidth());
        json.put("norm_type",
                c.norm() == NormType.SRMSNORM ? "simplermsnorm" : c.norm().name().toLowerCase(Locale.ROOT));
        json.put("linear_act_fun", c.attentionActivation().releasedName());
        json.put("linear_use_lrpe_list", c.lrpeLayers().stream().map(x -> x ? 1 : 0).toList());
        json.put("no_scale_embedding", !c.scaleEmbedding());
        json.put("bias", c.bias());
        json.put("tie_word_embeddings", c.tiedHead());
        json.put("init_std", c.initStd());
        json.put("pad_token_id", c.padding() < 0 ? null : c.padding());
        json.put("bos_token_id", c.bos());
        json.put("eos_token_id", c.eos());
        json.put("add_bos_token", false);
        json.put("use_cache", true);
        Map<String, Object> extension = new LinkedHashMap<>();
        if (c.norm() == NormType.RMSNORM) {
            extension.put("norm", NormType.RMSNORM.name());
        }
        put(extension, "glu_activation", c.gluActivation(), ActivationFunction.IDENTITY);
        put(extension, "position", c.position(), Position.LRPE_DECAY);
        if (c.position() == Position.ABSOLUTE) {
            extension.put("max_position_embeddings", c.positions());
        }
        put(extension, "decay", c.decay(), DecaySchedule.RELEASED);
        put(extension, "decay_temperature", c.temperature(), DecayTemperature.BY_LAYER);
        put(extension, "gate", c.gate(), Gate.LINEAR);
        if (!extension.isEmpty()) {
            json.put(EXTENSION, extension);
        }
        return json;
    }

    private static void put(Map<String, Object> extension, String key, Enum<?> value, Enum<?> released) {
        if (value != released) {
            extension.put(key, value.name());
        }
    }

    /** The released code needs one entry per layer; it cuts a longer list and fails on a shorter or empty one. */
    private static List<Boolean> lrpeLayers(Map<String, ?> json, int layers) {
        Object value = json.get("linear_use_lrpe_list");
        if (!(value instanceof List<?> list) || list.size() < layers) {
            throw new IllegalArgumentException(
                    ("linear_use_lrpe_list must have an entry for each of the %d layers, but "
                            + "is %s; [1, 0, 0, ...] is what the released models use").formatted(layers, value));
        }
        List<Boolean> flags = new ArrayList<>();
        for (Object entry : list.subList(0, layers)) {
            flags.add(entry instanceof Number n ? n.doubleValue() != 0 : Boolean.TRUE.equals(entry));
        }
        return flags;
    }

    /**
     * A missing key is the class default 0; an explicit null is no padding token; the released code's embedding counts
     * negative ones from the end.
     */
    private static int padding(Map<String, ?> json, int vocabulary) {
        if (json.containsKey("pad_token_id") && json.get("pad_token_id") == null) {
            return -1;
        }
        int padding = integer(json, "pad_token_id", 0);
        if (padding < -vocabulary) {
            throw new IllegalArgumentException("pad_token_id %d is not a token of %d".formatted(padding, vocabulary));
        }
        return padding < 0 ? padding + vocabulary : padding;
    }

    private static int integer(Map<?, ?> json, String key, int absent) {
        Object value = json.get(key);
        if (value == null) {
            return absent;
        }
        if (value instanceof Number n && n.doubleValue() == n.intValue()) {
            return n.intValue();
        }
        throw new IllegalArgumentException("%s must be a whole number below 2^31, not %s".formatted(key, value));
    }

    private static double number(Map<String, ?> json, String key, double absent) {
        Object value = json.get(key);
        if (value == null || value instanceof Number) {
            return value == null ? absent : ((Number) value).doubleValue();
        }
        throw new IllegalArgumentException("%s must be a number, not %s".formatted(key, value));
    }

    private static boolean flag(Map<String, ?> json, String key, boolean absent) {
        Object value = json.get(key);
        if (value == null || value instanceof Boolean) {
            return value == null ? absent : (Boolean) value;
        }
        throw new IllegalArgumentException("%s must be true or false, not %s".formatted(key, value));
    }

    private static <E extends Enum<E>> E option(Map<?, ?> extension, String key, Class<E> type, E absent) {
        Object value = extension.get(key);
        if (value == null) {
            return absent;
        }
        for (E constant : type.getEnumConstants()) {
            if (constant.name().equals(value)) {
                return constant;
            }
        }
        throw new IllegalArgumentException("%s.%s must be one of %s, not %s".formatted(EXTENSION, key,
                List.of(type.getEnumConstants()), value));
    }
}
