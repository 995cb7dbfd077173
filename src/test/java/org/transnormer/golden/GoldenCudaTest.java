package org.transnormer.golden;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.transnormer.backend.BackendKind;
import org.transnormer.tensor.DType;
import org.transnormer.verify.GoldenCase;
import org.transnormer.verify.GoldenVerifier;
import org.transnormer.verify.GoldenVerifier.Outcome;

/** The path that trains on a GPU, and its parts, against the official code's tensors and those of other models. */
@Tag("gpu")
class GoldenCudaTest {

    static Stream<Arguments> runs() throws IOException {
        List<Path> files = Stream.concat(Stream.of(OfficialGolden.A, OfficialGolden.B, OfficialGolden.D),
                ModelGoldenTest.files().stream()).toList();
        return BackendKind.CUDA.dtypes().stream().flatMap(dtype -> files.stream().flatMap(
                file -> Stream.of(false, true).map(unfused -> Arguments.of(dtype, file, unfused))));
    }

    @ParameterizedTest
    @MethodSource("runs")
    void everyTensorAgrees(DType dtype, Path file, boolean unfused) {
        try (GoldenCase golden = GoldenCase.read(List.of(file)).getFirst()) {
            Outcome outcome = GoldenVerifier.verify(golden,
                    () -> BackendKind.CUDA.open(BackendKind.CUDA.precision(dtype), 1), unfused);
            assertThat(outcome.first()).isEmpty();
            assertThat(outcome.rows()).hasSizeGreaterThan(25);
        }
    }
}
