package org.transnormer.golden;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.transnormer.backend.BackendKind;
import org.transnormer.tensor.DType;
import org.transnormer.verify.GoldenCase;
import org.transnormer.verify.GoldenVerifier;
import org.transnormer.verify.GoldenVerifier.Outcome;

/** Every backend in every type that it has, against models that the released code's golden files do not cover. */
class ModelGoldenTest {

    static List<Path> files() throws IOException {
        try (Stream<Path> files = Files.list(Path.of("golden-tests", "model"))) {
            List<Path> cases = files.filter(file -> file.toString().endsWith(".safetensors")).sorted().toList();
            assertThat(cases).hasSize(5);
            return cases;
        }
    }

    static Stream<Arguments> runs() throws IOException {
        return files().stream().flatMap(
                file -> Stream.of(BackendKind.SCALAR, BackendKind.VECTOR).flatMap(kind -> kind.dtypes().stream()
                        .map(dtype -> Arguments.of(file, kind, dtype))));
    }

    @ParameterizedTest
    @MethodSource("runs")
    void everyTensorAgrees(Path file, BackendKind kind, DType dtype) {
        try (GoldenCase golden = GoldenCase.read(List.of(file)).getFirst()) {
            Outcome outcome = GoldenVerifier.verify(golden,
                    () -> kind.open(kind.precision(dtype), 2), false);
            assertThat(outcome.first()).isEmpty();
            assertThat(outcome.rows()).hasSizeGreaterThan(25);
        }
    }
}
