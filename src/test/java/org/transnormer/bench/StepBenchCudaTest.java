package org.transnormer.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.model.Preset;
import org.transnormer.model.Recompute;

/** What {@code tnl bench step --profile} tells of a GPU. */
@Tag("gpu")
class StepBenchCudaTest {

    @Test
    void aProfileInF32HasTheCallsOfAStepBesideTheirFloors() {
        profile(Precision.F32);
    }

    @Test
    void aProfileInBf16HasTheCallsOfAStepBesideTheirFloors() {
        profile(Precision.BF16);
    }

    private static void profile(Precision precision) {
        StepBench bench = new StepBench(Preset.NANO.config(256, 0, 1, 2), 1, 16, Recompute.NONE);
        List<StepBench.Part> parts = bench.profile(BackendKind.CUDA, precision, 1, 0.01);
        Ceilings ceilings;
        try (Backend backend = BackendKind.CUDA.open(precision, 1)) {
            ceilings = Ceilings.of(backend, 1 << 16, 16);
        }
        assertThat(parts).extracting(StepBench.Part::call).contains("Embedding.forward", "Embedding.backward",
                "SrmsNorm.forward", "FeatureAttention.forward", "FeatureAttention.backward", "Linear.backwardWeight",
                "CrossEntropy.lossAndGradient", "GradientNorm.apply", "AdamW.step").doesNotContain("Embedding.reserve");
        assertThat(parts).allSatisfy(part -> {
            assertThat(part.nanos()).isNotNegative();
            assertThat(part.calls()).isPositive();
            assertThat(ceilings.floorNanos(part.work())).isPositive().isFinite();
        });
        assertThat(parts.stream().mapToDouble(part -> part.work().flops()).sum()).isGreaterThan(bench.flops());
    }
}
