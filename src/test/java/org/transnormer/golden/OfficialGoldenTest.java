package org.transnormer.golden;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.transnormer.backend.BackendKind;
import org.transnormer.tensor.DType;
import org.transnormer.verify.GoldenCase;
import org.transnormer.verify.GoldenVerifier;
import org.transnormer.verify.GoldenVerifier.Outcome;
import org.transnormer.verify.GoldenVerifier.Row;

/** Every backend in every type that it has, against every tensor of the official code's golden files. */
class OfficialGoldenTest {

    static Stream<Arguments> runs() {
        return Stream.of(BackendKind.SCALAR, BackendKind.VECTOR)
                .flatMap(kind -> kind.dtypes().stream().flatMap(dtype -> Stream
                        .of(OfficialGolden.A, OfficialGolden.B, OfficialGolden.D)
                        .map(file -> Arguments.of(kind, dtype, file))));
    }

    @ParameterizedTest
    @MethodSource("runs")
    void everyTensorAgrees(BackendKind kind, DType dtype, Path file) {
        try (GoldenCase golden = GoldenCase.read(List.of(file)).getFirst()) {
            Outcome outcome = GoldenVerifier.verify(golden,
                    () -> kind.open(kind.precision(dtype), 2), false);
            assertThat(outcome.first()).isEmpty();
            assertThat(outcome.rows()).filteredOn(Row::composed).hasSize(3 * golden.config().layers()
                    + 2 * Collections.frequency(golden.config().lrpeLayers(), true)).allMatch(
                            row -> row.comparison()
                                    .name().matches(".*(lrpe_[qk]|attn_norm|token_mixer|channel_mixer)"));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"SCALAR", "VECTOR"})
    void theComposedPartsAgreeToo(BackendKind kind) {
        try (GoldenCase golden = GoldenCase.read(List.of(OfficialGolden.B)).getFirst()) {
            Outcome outcome = GoldenVerifier.verify(golden,
                    () -> kind.open(kind.precision(kind.dtypes().getFirst()), 2), true);
            assertThat(outcome.first()).isEmpty();
            assertThat(outcome.rows()).noneMatch(Row::composed);
        }
    }
}
