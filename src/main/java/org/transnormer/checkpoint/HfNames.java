package org.transnormer.checkpoint;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eclipse.collections.api.factory.Maps;
import org.eclipse.collections.api.factory.primitive.LongLists;
import org.eclipse.collections.api.list.primitive.ImmutableLongList;
import org.eclipse.collections.api.list.primitive.MutableLongList;
import org.eclipse.collections.api.map.MapIterable;
import org.eclipse.collections.api.map.MutableMap;
import org.transnormer.tensor.DType;

/** Names of the released files and tensors, and what they say about a model. SPEC section 6.2. */
public final class HfNames {
    public static final String CONFIG = "config.json";
    public static final String WEIGHTS = "model.safetensors";
    public static final String INDEX = "model.safetensors.index.json";
    /** (V, d). */
    public static final String EMBEDDING = "model.embed_tokens.weight";
    /** (V, d); absent or equal to the embedding where the head is tied. */
    public static final String HEAD = "lm_head.weight";

    private static final Pattern LAYER = Pattern.compile("model\\.layers\\.(\\d{1,6})\\..+");
    /** What a model never holds narrower than F32: θ, norm weights, biases. */
    private static final Pattern WIDE = Pattern.compile(".*\\.lrpe\\.theta|.*norm\\.weight|.*\\.bias");

    private HfNames() {
    }

    /** File of shard {@code i} of n, counted from 1. */
    static String shard(int i, int n) {
        return n == 1 ? WEIGHTS : "model-%05d-of-%05d.safetensors".formatted(i, n);
    }

    /** The type of a tensor in a file whose matrices have type {@code dtype}: θ, norm weights and biases at least F32. */
    public static DType savedAs(String name, DType dtype) {
        return WIDE.matcher(name).matches() && dtype.bytes() < DType.F32.bytes() ? DType.F32 : dtype;
    }

    /**
     * Configuration keys whose values follow from the names and shapes of a file's tensors; keys of which nothing can be
     * said are left out.
     */
    static MapIterable<String, Object> impliedConfig(MapIterable<String, ImmutableLongList> shapes) {
        MutableMap<String, Object> implied = Maps.mutable.empty();
        int layers = 0;
        for (String name : shapes.keysView()) {
            Matcher layer = LAYER.matcher(name);
            if (layer.matches()) {
                layers = Math.max(layers, 1 + Integer.parseInt(layer.group(1)));
            }
        }
        put(implied, "vocab_size", shapes.getIfAbsent(EMBEDDING, () -> shapes.get(HEAD)), 0);
        put(implied, "decoder_embed_dim", shapes.getIfAbsent(EMBEDDING, () -> shapes.get(HEAD)), 1);
        if (layers > 0) {
            implied.put("decoder_layers", (long) layers);
            put(implied, "hidden_dim", shapes.get("model.layers.0.token_mixer.out_proj.weight"), 1);
            put(implied, "glu_dim", shapes.get("model.layers.0.channel_mixer.l1.weight"), 0);
            implied.put("bias", shapes.containsKey("model.layers.0.token_mixer.out_proj.bias"));
            MutableLongList lrpe = LongLists.mutable.empty();
            for (int layer = 0; layer < layers; layer++) {
                ImmutableLongList theta = shapes.get("model.layers." + layer + ".token_mixer.lrpe.theta");
                lrpe.add(theta == null ? 0 : 1);
                put(implied, "decoder_attention_heads", theta, 0);
            }
            implied.put("linear_use_lrpe_list", lrpe.toImmutable());
        }
        return implied;
    }

    private static void put(MutableMap<String, Object> implied, String key, ImmutableLongList shape, int axis) {
        if (shape != null && shape.size() > axis) {
            implied.put(key, shape.get(axis));
        }
    }
}
