package org.transnormer.loss;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

class CrossEntropyVectorTest implements CrossEntropyContract {
    private static final Workers[] WORKERS = {new Workers(1), new Workers(2), new Workers(3)};

    @Override
    public CrossEntropy subject() {
        return new CrossEntropyVector(WORKERS[1]);
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    @Property(tries = 4)
    void threadsDoNotMatter(@ForAll("cases") Case c) {
        // wide enough for several tasks
        Case wide = new Case(5, c.columns() + 12_000, c.padding(), c.gap(), c.perToken(), c.values(), c.seed());
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Run run = new Run(tensors, wide, DType.F32, c.perToken()).run(new CrossEntropyVector(WORKERS[0]));
            for (Tensor result : new Tensor[] {run.sum, run.losses, run.dlogits}) {
                Tensor want = tensors.copy(result, result.dtype());
                for (Workers workers : WORKERS) {
                    result.fill(Double.NaN);
                    run.run(new CrossEntropyVector(workers));
                    assertThat(tensors.copy(result, result.dtype()).segment().mismatch(want.segment())).isEqualTo(-1);
                }
            }
        }
    }

    @Example
    void otherTypesAreRefused() {
        try (TestTensors tensors = new TestTensors(0)) {
            Run run = new Run(tensors, new Case(3, 5, 0, 0, DType.F64, Values.NORMAL, 0), DType.BF16, DType.F64);
            assertThatThrownBy(() -> subject().partial(run.logits, run.targets, 0, 5, run.max, run.sum, run.target))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("logits BF16 [3, 5]");
        }
    }
}
