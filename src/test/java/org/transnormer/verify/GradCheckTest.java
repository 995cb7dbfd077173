package org.transnormer.verify;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.transnormer.backend.Backend;
import org.transnormer.backend.ObservedBackend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.lightning.LightningRecurrent;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.verify.GradCheck.Check;

/** The gradients of models with every option are derivatives of their loss; and a wrong gradient is noticed. */
class GradCheckTest {
    static Stream<GradCheck.Variant> variants() {
        return GradCheck.variants().stream();
    }

    @ParameterizedTest
    @MethodSource("variants")
    void gradientsAreDerivatives(GradCheck.Variant variant) {
        try (Backend backend = new ScalarBackend(Precision.F64, new HostMemory())) {
            assertThat(GradCheck.run(variant, 1, backend)).hasSizeGreaterThan(30).allMatch(Check::ok);
        }
    }

    @Test
    void theAttentionOfTheMaskedModelAloneSeesAMask() {
        for (GradCheck.Variant variant : GradCheck.variants()) {
            Set<String> masks = new HashSet<>();
            Backend spec = new ScalarBackend(Precision.F64, new HostMemory());
            try (Backend observed = new ObservedBackend(spec, (component, method, arguments, nanos) -> {
                if (component.equals("LightningAttention") && !method.equals("reserve")) {
                    masks.add(method + " " + (arguments[5] instanceof Tensor mask ? values(mask) : "none"));
                }
            })) {
                GradCheck.run(variant, 1, observed);
            }
            assertThat(masks).as(variant.name()).containsExactlyInAnyOrderElementsOf(variant.masked()
                    ? List.of("forward 101101101", "backward 101101101") : List.of("forward none", "backward none"));
        }
        assertThat(GradCheck.variants()).filteredOn(GradCheck.Variant::masked).hasSize(1);
    }

    private static String values(Tensor mask) {
        return LongStream.range(0, mask.size()).mapToObj(t -> "" + mask.getInt(t)).collect(Collectors.joining());
    }

    @Test
    void aGradientThatIsOffByAMillionthIsFound() {
        try (Backend backend = new ScalarBackend(Precision.F64, new HostMemory(), new SlightlyWrong())) {
            List<Check> checks = GradCheck.run(GradCheck.variants().getFirst(), 1, backend);
            assertThat(checks).filteredOn(check -> !check.ok()).isNotEmpty()
                    .allMatch(check -> check.tensor().matches(".*(token_mixer|embed|layers.0).*"));
        }
    }

    @Test
    void whatIsNoNumberDoesNotPass() {
        assertThat(new Check("x", "entry 0", Double.NaN, 1, 1).ok()).isFalse();
        assertThat(new Check("x", "entry 0", 1, 1 + 5e-8, 1).ok()).isTrue();
        assertThat(new Check("x", "entry 0", 1, 1 + 2e-7, 1).ok()).isFalse();
    }

    /** The attention with one gradient a millionth too large. */
    private static final class SlightlyWrong implements LightningAttention {
        private final LightningAttention right = new LightningRecurrent();

        @Override
        public void forward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask,
                Tensor initial, Tensor o, Tensor last) {
            right.forward(q, k, v, rates, sequences, mask, initial, o, last);
        }

        @Override
        public void backward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask,
                Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial) {
            right.backward(q, k, v, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
            for (long i = 0; i < dv.size(); i++) {
                dv.setFlat(i, dv.getFlat(i) * (1 + 1e-6));
            }
        }
    }
}
