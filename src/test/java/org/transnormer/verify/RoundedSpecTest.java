package org.transnormer.verify;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.backend.Backend;
import org.transnormer.backend.ObservedBackend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.model.TransNormer;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.verify.GoldenVerifier.Outcome;

/** A scalar run in BF16 is the spec with its roundings to the last bit, so the smallest mistake in it shows. */
class RoundedSpecTest {
    @TempDir
    private static Path temp;
    private static Path file;

    @BeforeAll
    static void write() {
        file = new GoldenWriter(Map.of(), false, 2, 9, 4, 1).write(temp.resolve("case.safetensors"));
    }

    @Test
    void nothingWrongIsNothingFound() {
        assertThat(verify((component, method, arguments, nanos) -> {
        }).first()).isEmpty();
    }

    @Test
    void theLastLayersResidueOfDecayShows() {
        assertThat(verify((component, method, arguments, nanos) -> {
            if (component.equals("LightningAttention") && method.equals("forward")) {
                Tensor rates = (Tensor) arguments[3];
                if (rates.get(0) < 1e-5) {
                    rates.fill(0);
                }
            }
        }).ok()).isFalse();
    }

    @Test
    void onePositionThatIsOffByOneShows() {
        assertThat(verify((component, method, arguments, nanos) -> {
            if (component.equals("Lrpe") && method.equals("forward")) {
                Tensor positions = (Tensor) arguments[2];
                long last = positions.size() - 1;
                positions.setInt(last, last == 0 ? positions.getInt(0) : (int) last % 9 + 1);
            }
        }).ok()).isFalse();
    }

    @Test
    void oneWeightThatIsOffByItsLastBitShows() {
        boolean[] done = {false};
        assertThat(verify((component, method, arguments, nanos) -> {
            if (component.equals("Linear") && method.equals("forward") && !done[0]) {
                done[0] = true;
                Tensor w = (Tensor) arguments[1];
                w.set(3, 5, w.get(3, 5) * (1 + 0x1p-7));
            }
        }).ok()).isFalse();
    }

    @Test
    void aResultThatIsRoundedTwiceShows() {
        assertThat(verify((component, method, arguments, nanos) -> {
            if (component.equals("SrmsNorm") && method.equals("partial")) {
                Tensor sums = (Tensor) arguments[1];
                for (long t = 0; t < sums.size(); t++) {
                    sums.setFlat(t, sums.getFlat(t) * (1 + 0x1p-9));
                }
            }
        }).ok()).isFalse();
    }

    /** A type that is too narrow would be so in the run and in the spec beside it. */
    @Test
    void onlyMatricesAndActivationsAreBf16() {
        Map<String, Object> keys = Map.of("vocab_size", 11, "decoder_embed_dim", 8, "decoder_layers", 1,
                "decoder_attention_heads", 2, "hidden_dim", 8, "glu_dim", 6, "linear_use_lrpe_list", List.of(1), "bias",
                true, "norm_type", "layernorm");
        ModelConfig config = ReleasedConfig.parse(keys, false);
        List<String> narrow = new ArrayList<>();
        Memory plan = new PlanMemory();
        Memory memory = new Memory() {
            @Override
            public Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape) {
                if (dtype == DType.BF16) {
                    narrow.add(name);
                }
                return plan.allocate(kind, name, dtype, shape);
            }

            @Override
            public MemoryPlan plan() {
                return plan.plan();
            }

            @Override
            public void close() {
                plan.close();
            }
        };
        try (Backend backend = new ScalarBackend(Precision.BF16, memory)) {
            Weights weights = new Weights(config, Precision.BF16, memory, true);
            for (Parameter p : weights.parameters()) {
                boolean matrix = p.name().endsWith(".weight") && !p.name().contains("norm");
                assertThat(p.group().dtype()).as(p.name()).isEqualTo(matrix ? DType.BF16 : DType.F32);
                assertThat(p.group().gradientType()).as(p.name()).isEqualTo(DType.F32);
            }
            TransNormer model = new TransNormer(backend, Communicator.single(), config, weights,
                    TransNormer.Mode.TRAINING, 5);
            assertThat(model.stateType()).isEqualTo(DType.F32);
            assertThat(narrow).contains("embed", "logits").noneMatch(name -> name.matches(
                    ".*(rates|sums|max|target|losses|theta|bias|grad\\.|state|statistics).*"));
        }
    }

    private static Outcome verify(ObservedBackend.Observer fault) {
        try (GoldenCase golden = GoldenCase.read(List.of(file)).getFirst()) {
            return GoldenVerifier.verify(golden, () -> backend(fault), false);
        }
    }

    private static Backend backend(ObservedBackend.Observer fault) {
        return new ObservedBackend(new ScalarBackend(Precision.BF16, new HostMemory()), fault);
    }
}
