package org.transnormer.adamw;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.Example;
import net.jqwik.api.Tag;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

@Tag("gpu")
class AdamWCudaTest implements AdamWContract {
    private static final AdamW TWIN = OnDevice.wrap(AdamW.class, gpu -> new AdamWCuda(gpu));

    @Override
    public AdamW subject() {
        return TWIN;
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    /** Aligned or not, with a tail or not, clipped or not. */
    @Example
    void bitsAreTheVectorTwins() {
        try (Workers workers = new Workers(2)) {
            for (int columns : new int[] {4096, 5001}) {
                for (DType weights : new DType[] {DType.F32, DType.BF16}) {
                    for (double clip : new double[] {1, 0.3}) {
                        Case c = new Case(3, columns, 10, 0.95, true, clip, Values.NORMAL, columns);
                        try (TestTensors a = new TestTensors(7); TestTensors b = new TestTensors(7)) {
                            Run got = new Run(a, c, DType.F32, weights).run(TWIN);
                            Run want = new Run(b, c, DType.F32, weights).run(new AdamWVector(workers));
                            same(got.master, want.master);
                            same(got.weight, want.weight);
                            same(got.m, want.m);
                            same(got.v, want.v);
                        }
                    }
                }
            }
        }
    }

    /** Views that begin at any element, as in a buffer of small tensors. */
    @Example
    void anyAlignmentGivesTheSameBits() {
        for (DType weights : new DType[] {DType.F32, DType.BF16}) {
            Case c = new Case(1, 1000, 10, 0.95, true, 1, Values.NORMAL, 8);
            try (TestTensors a = new TestTensors(8); TestTensors b = new TestTensors(8)) {
                Run whole = new Run(a, c, DType.F32, weights);
                Run part = new Run(b, c, DType.F32, weights);
                TWIN.step(flat(part.master), flat(part.weight), flat(part.gradient), flat(part.m), flat(part.v),
                        c.constants(), true, part.scalars);
                whole.run(TWIN);
                same(flat(part.master), flat(whole.master));
                same(flat(part.weight), flat(whole.weight));
                same(flat(part.v), flat(whole.v));
            }
        }
    }

    /** All but the first element. */
    private static Tensor flat(Tensor t) {
        return t.reshape(t.size()).slice(0, 1, t.size());
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

    private static void same(Tensor got, Tensor want) {
        for (long i = 0; i < got.size(); i++) {
            assertThat(got.getFlat(i)).isEqualTo(want.getFlat(i));
        }
    }
}
