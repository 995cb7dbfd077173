package org.transnormer.adamw;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.Example;
import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

@Tag("gpu")
class GradientNormCudaTest implements GradientNormContract {
    private static final GradientNorm TWIN = OnDevice.wrap(GradientNorm.class, GradientNormCuda::new);

    @Override
    public GradientNorm subject() {
        return TWIN;
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    /** One range, several, all 1024, each of more than one turn of its block; views at any element. */
    @Example
    void rangesAreJoinedInAFixedOrder() {
        for (int size : new int[] {16_384, 16_385, 100_003, 17_000_001}) {
            try (TestTensors tensors = new TestTensors(size)) {
                Tensor gradient = tensors.random("gradient", DType.F32, Values.NORMAL, size);
                Tensor want = tensors.zeros("want", DType.F64, 1);
                new GradientNormScalar().partial(gradient, want);
                double first = Double.NaN;
                for (int run = 0; run < 3; run++) {
                    Tensor total = tensors.zeros("total", DType.F64, 1);
                    TWIN.partial(gradient, total);
                    assertThat(total.get(0)).isCloseTo(want.get(0), within(size * 0x1p-52 * want.get(0)));
                    assertThat(run == 0 ? total.get(0) : first).isEqualTo(total.get(0));
                    first = total.get(0);
                }
                Tensor part = gradient.slice(0, 3, size);
                want.set(0, 0);
                new GradientNormScalar().partial(part, want);
                Tensor total = tensors.zeros("total", DType.F64, 1);
                TWIN.partial(part, total);
                assertThat(total.get(0)).isCloseTo(want.get(0), within(size * 0x1p-52 * want.get(0)));
            }
        }
    }
}
