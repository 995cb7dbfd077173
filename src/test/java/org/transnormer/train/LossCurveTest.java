package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.transnormer.testing.SameBits.output;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import jdk.incubator.vector.VectorShape;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Same seed, same bits: the loss curve of a whole training run is what it was when it was frozen, whatever the threads,
 * the width of the vectors and the compiler.
 */
class LossCurveTest {
    private static final Path FROZEN = Path.of("golden-tests/losses/tiny-vector.txt");
    private static final int STEPS_ELSEWHERE = 10;

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void theLossCurveIsTheFrozenOneForAnyNumberOfThreads(int threads) throws IOException {
        assertThat(LossCurve.lines(threads, TinyRun.ROWS, TinyRun.LENGTH, LossCurve.STEPS).lines().toList())
                .as("step, loss, gradient norm with %d threads", threads).isEqualTo(frozen());
    }

    @ParameterizedTest
    @ValueSource(ints = {256, 512})
    void theLossCurveIsTheFrozenOneForAnyVectorWidth(int bits) throws IOException {
        if (bits > VectorShape.preferredShape().vectorBitSize()) {
            System.out.printf("loss curve with %d-bit vectors not compared: this CPU has %d%n", bits,
                    VectorShape.preferredShape().vectorBitSize());
            return;
        }
        assertThat(output(LossCurve.class, List.of("-Dtnl.vectorBits=" + bits), "1", "" + TinyRun.ROWS,
                "" + TinyRun.LENGTH, "" + STEPS_ELSEWHERE).lines().toList())
                .as("step, loss, gradient norm with %d-bit vectors", bits)
                .isEqualTo(frozen().subList(0, STEPS_ELSEWHERE));
    }

    /** On shorter rows: the interpreter needs seconds for what compiled code does in a millisecond. */
    @Test
    void theLossCurveIsTheSameInterpretedAndCompiled() {
        String compiled = LossCurve.lines(1, 1, 12, LossCurve.STEPS);
        assertThat(output(LossCurve.class, List.of("-Xint"), "1", "1", "12", "2").lines().toList())
                .isEqualTo(compiled.lines().limit(2).collect(Collectors.toList()));
    }

    private static List<String> frozen() throws IOException {
        return Files.readAllLines(FROZEN).stream().filter(line -> !line.startsWith("#")).toList();
    }
}
