package org.transnormer.adamw;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.Example;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

class GradientNormVectorTest implements GradientNormContract {
    private static final Workers[] WORKERS = {new Workers(1), new Workers(2), new Workers(3)};
    private final HostMemory memory = new HostMemory();

    @Override
    public GradientNorm subject() {
        return new GradientNormVector(WORKERS[1], new Workspace(memory));
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    /** Sizes around the ends of ranges, on any number of threads: the same bits, and the spec's value. */
    @Example
    void rangesAreJoinedInOrder() {
        for (long size : new long[] {GradientNormVector.RANGE - 1, GradientNormVector.RANGE,
            3 * GradientNormVector.RANGE + 1}) {
            try (TestTensors tensors = new TestTensors(size)) {
                Tensor gradient = tensors.random("gradient", DType.F32, Values.NORMAL, size);
                Tensor want = tensors.zeros("want", DType.F64, 1);
                new GradientNormScalar().partial(gradient, want);
                double first = Double.NaN;
                for (Workers workers : WORKERS) {
                    Tensor total = tensors.zeros("total", DType.F64, 1);
                    new GradientNormVector(workers, new Workspace(memory)).partial(gradient, total);
                    assertThat(total.get(0)).isCloseTo(want.get(0), within(1e-13 * want.get(0)));
                    first = Double.isNaN(first) ? total.get(0) : first;
                    assertThat(total.get(0)).isEqualTo(first);
                }
            }
        }
    }

    @Example
    void otherTypesAreRefused() {
        try (TestTensors tensors = new TestTensors(0)) {
            assertThatThrownBy(() -> subject().partial(tensors.zeros("g", DType.F64, 3),
                    tensors.zeros("total", DType.F64, 1))).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("gradient is g F64 [3]");
        }
    }
}
