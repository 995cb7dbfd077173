package org.transnormer.adamw;

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

class AdamWVectorTest implements AdamWContract {
    private static final Workers[] WORKERS = {new Workers(1), new Workers(2), new Workers(3)};

    @Override
    public AdamW subject() {
        return new AdamWVector(WORKERS[1]);
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    @Property(tries = 3)
    void threadsDoNotMatter(@ForAll("cases") Case c) {
        // more than one task
        Case wide = new Case(7, 5001, c.t(), c.beta2(), c.decays(), c.clip(), c.values(), c.seed());
        Tensor[] want = null;
        for (Workers workers : WORKERS) {
            TestTensors tensors = new TestTensors(c.seed());
            Run run = new Run(tensors, wide, DType.F32, DType.BF16).run(new AdamWVector(workers));
            Tensor[] got = {run.master, run.weight, run.m, run.v};
            for (int i = 0; want != null && i < got.length; i++) {
                assertThat(got[i].segment().mismatch(want[i].segment())).isEqualTo(-1);
            }
            want = got;
        }
    }

    /** Where m = g and v = g² they stay, for ever, whatever β. */
    @Property(tries = 20)
    void momentsThatHaveArrivedStay(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Case plain = new Case(c.rows(), c.columns(), c.t(), c.beta2(), c.decays(), 1, Values.NORMAL, c.seed());
            Run run = new Run(tensors, plain, DType.F32, DType.F32);
            for (long i = 0; i < run.v.size(); i++) {
                // twelve significant bits: the square is exact
                double g = Math.rint(run.gradient.getFlat(i) * 256) / 256;
                run.gradient.setFlat(i, g);
                run.m.setFlat(i, g);
                run.v.setFlat(i, g * g);
            }
            Tensor m = tensors.copy(run.m, DType.F32);
            Tensor v = tensors.copy(run.v, DType.F32);
            run.run(subject());
            for (long i = 0; i < run.v.size(); i++) {
                assertThat(run.m.getFlat(i)).isEqualTo(m.getFlat(i));
                assertThat(run.v.getFlat(i)).isEqualTo(v.getFlat(i));
            }
        }
    }

    @Example
    void aSecondF32WeightIsACopyOfTheMaster() {
        try (TestTensors tensors = new TestTensors(0)) {
            Case c = new Case(3, 50, 1, 0.9, true, 1, Values.NORMAL, 0);
            Run run = new Run(tensors, c, DType.F32, DType.F32);
            Tensor weight = tensors.poisoned("weight", DType.F32, 3, 50);
            subject().step(run.master, weight, run.gradient, run.m, run.v, c.constants(), true, run.scalars);
            assertThat(weight.segment().mismatch(run.master.segment())).isEqualTo(-1);
        }
    }

    @Example
    void otherTypesAreRefused() {
        try (TestTensors tensors = new TestTensors(0)) {
            Case c = new Case(3, 5, 1, 0.9, true, 1, Values.NORMAL, 0);
            Run run = new Run(tensors, c, DType.F32, DType.F16);
            assertThatThrownBy(() -> run.run(subject())).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("weight is weight F16 [3, 5]");
            Run wide = new Run(tensors, c, DType.F64, DType.F32);
            assertThatThrownBy(() -> wide.run(subject())).hasMessageContaining("master is master F64 [3, 5]");
        }
    }
}
