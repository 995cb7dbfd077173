package org.transnormer.cli;

import java.util.Arrays;
import java.util.List;
import org.transnormer.bench.GemmShape;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Preset;
import org.transnormer.tokenizer.ByteTokenizer;
import org.transnormer.tokenizer.Tokenizer;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** What all benchmarks have in common. */
final class BenchOptions {
    /** Seconds that a round takes, pause included. */
    private static final double GEMM_ROUND = 0.1;

    @Option(names = "--seconds", paramLabel = "X",
            description = "time spent on each figure, once it is stable; default ${DEFAULT-VALUE}",
            defaultValue = "3")
    private double seconds;

    @Option(names = "--json", description = "print one JSON object")
    private boolean json;

    @Mixin
    private BackendOptions backend;

    double seconds() {
        if (!(seconds > 0)) {
            throw new IllegalArgumentException("--seconds must be above 0, not " + seconds);
        }
        return seconds;
    }

    boolean json() {
        return json;
    }

    BackendOptions backend() {
        return backend;
    }

    /** Rounds of a product that take about the time given. */
    int gemmRounds() {
        return (int) Math.clamp(seconds() / GEMM_ROUND, 3, 1000);
    }

    /** A square product in all three directions. */
    static List<GemmShape> square(int size) {
        if (size < 1) {
            throw new IllegalArgumentException("--size must be 1 or more, not " + size);
        }
        return Arrays.stream(GemmShape.Direction.values()).map(d -> new GemmShape(d, size, size, size)).toList();
    }

    /** A preset's shape with its own vocabulary, or that of the byte tokenizer where it has none. */
    static ModelConfig config(String preset, boolean separateHead) {
        Preset shape = Preset.of(preset);
        Tokenizer bytes = new ByteTokenizer();
        int vocabulary = shape.vocabulary() > 0 ? shape.vocabulary() : bytes.vocabularySize();
        ModelConfig config = shape.config(vocabulary, bytes.padId(), bytes.bosId(), bytes.eosId());
        return separateHead ? config.withSeparateHead() : config;
    }
}
