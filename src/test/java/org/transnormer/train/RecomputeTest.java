package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.data.TokenDataset;
import org.transnormer.model.Recompute;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.testing.SameBits;

/** What the backward computes again is, bit for bit, what it would have kept; and it takes less memory. */
class RecomputeTest {
    private static final int STEPS = 3;

    @Test
    void vectorF32() {
        sameBits(BackendKind.VECTOR, DType.F32);
    }

    @Test
    void scalarBf16() {
        sameBits(BackendKind.SCALAR, DType.BF16);
    }

    @Test
    @Tag("gpu")
    void cudaF32() {
        sameBits(BackendKind.CUDA, DType.F32);
    }

    @Test
    @Tag("gpu")
    void cudaBf16() {
        sameBits(BackendKind.CUDA, DType.BF16);
    }

    private static void sameBits(BackendKind kind, DType dtype) {
        List<String> kept = run(kind, dtype, Recompute.NONE);
        for (Recompute recompute : Recompute.values()) {
            assertThat(run(kind, dtype, recompute)).as("%s", recompute).isEqualTo(kept);
        }
    }

    /** Outcomes of some steps, each with the gradients and the weights behind it. */
    private static List<String> run(BackendKind kind, DType dtype, Recompute recompute) {
        List<String> seen = new ArrayList<>();
        try (Backend backend = kind.open(kind.precision(dtype), 2)) {
            TrainingRun run = TinyRun.start(backend, TinyRun.settings(STEPS, 2), TinyRun.data(), recompute);
            for (int step = 0; step < STEPS; step++) {
                seen.add(run.trainer().next().toString());
                run.weights().groups().forEach(group -> {
                    seen.add(SameBits.checksum(group.gradient()));
                    seen.add(SameBits.checksum(group.value()));
                });
            }
        }
        return seen;
    }

    @Test
    void eachTakesLessMemoryThanTheOneBefore() {
        TokenDataset.Split data = TinyRun.data();
        long before = Long.MAX_VALUE;
        for (Recompute recompute : Recompute.values()) {
            try (Backend backend = BackendKind.VECTOR.plan(Precision.F32, 1)) {
                new TrainingRun(backend, TinyRun.config(), TinyRun.settings(STEPS, 1), data.train(), data.heldOut(),
                        recompute);
                long bytes = backend.memory().plan().bytes(MemoryKind.ACTIVATIONS);
                assertThat(bytes).as("%s", recompute).isLessThan(before);
                before = bytes;
            }
        }
    }
}
