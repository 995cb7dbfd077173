package org.transnormer.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.srmsnorm.NormType;

/**
 * Model shapes by name. SPEC section 2.5 says where each figure of the paper's sizes comes from: widths, layers and GLU
 * widths of 385M, 1B and 7B are confirmed by released files; head counts of 1B, and all of 3B, 13B, 65B and 175B, are
 * not.
 */
public enum Preset {
    /** 0.13M parameters: what {@code tnl train} trains in two minutes on two cores. */
    NANO("nano", 64, 2, 4, 192, true, 0),
    /** 0.9M parameters: better text for ten more minutes. */
    TINY("tiny", 128, 4, 4, 384, true, 0),
    /** 3.8M parameters: the shape that PyTorch is compared with on the CPU. */
    PEER_CPU("peer-cpu", 256, 4, 4, 768, true, 512),
    /** 14M parameters: an overnight run on a CPU. */
    SMALL("small", 384, 8, 6, 1024, true, 0),
    M385("385M", 1024, 24, 8, 2816, true, 64_000),
    B1("1B", 2048, 16, 16, 5632, true, 64_000),
    B3("3B", 2560, 32, 20, 6912, true, 64_000),
    B7("7B", 4096, 30, 32, 11008, true, 64_000),
    B13("13B", 5120, 36, 40, 13824, true, 64_000),
    B65("65B", 8192, 72, 64, 22016, true, 64_000),
    B175("175B", 12288, 88, 96, 32768, true, 64_000);

    private final String label;
    private final int width;
    private final int layers;
    private final int heads;
    private final int gluWidth;
    private final boolean tied;
    private final int vocabulary;

    Preset(String label, int width, int layers, int heads, int gluWidth, boolean tied, int vocabulary) {
        this.label = label;
        this.width = width;
        this.layers = layers;
        this.heads = heads;
        this.gluWidth = gluWidth;
        this.tied = tied;
        this.vocabulary = vocabulary;
    }

    /** The name on the command line. */
    public String label() {
        return label;
    }

    /** Size of the vocabulary that the preset is defined with; 0: that of the tokenizer. */
    public int vocabulary() {
        return vocabulary;
    }

    /** The shape with LRPE in the first layer, decay in all, released norm, activation and gate. */
    public ModelConfig config(int vocabularySize, int padding, int bos, int eos) {
        List<Boolean> lrpe = new ArrayList<>();
        for (int layer = 0; layer < layers; layer++) {
            lrpe.add(layer == 0);
        }
        return new ModelConfig(vocabularySize, width, layers, heads, width, gluWidth, NormType.SRMSNORM,
                ActivationFunction.SILU, ActivationFunction.IDENTITY, Position.LRPE_DECAY, 0, lrpe,
                DecaySchedule.RELEASED,
                DecayTemperature.BY_LAYER, Gate.LINEAR, true, false, tied, 0.02, padding, bos, eos);
    }

    /**
     * The preset of a name, in any case.
     *
     * @throws IllegalArgumentException listing the names there are
     */
    public static Preset of(String name) {
        for (Preset p : values()) {
            if (p.label.toLowerCase(Locale.ROOT).equals(name.toLowerCase(Locale.ROOT))) {
                return p;
            }
        }
        throw new IllegalArgumentException("there is no preset %s; there are %s".formatted(name,
                String.join(", ", Arrays.stream(values()).map(Preset::label).toList())));
    }
}
