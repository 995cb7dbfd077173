package org.transnormer.loss;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.Example;
import net.jqwik.api.Group;
import net.jqwik.api.Tag;
import org.transnormer.loss.CrossEntropyContract.Case;
import org.transnormer.loss.CrossEntropyContract.Run;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Comparison;

@Tag("gpu")
class CrossEntropyCudaTest {
    static final CrossEntropy TWIN = OnDevice.wrap(CrossEntropy.class, gpu -> new CrossEntropyCuda(gpu));

    @Group
    class F32 implements CrossEntropyContract {
        @Override
        public CrossEntropy subject() {
            return TWIN;
        }

        @Override
        public DType dtype() {
            return DType.F32;
        }
    }

    @Group
    class Bf16 implements CrossEntropyContract {
        @Override
        public CrossEntropy subject() {
            return TWIN;
        }

        @Override
        public DType dtype() {
            return DType.BF16;
        }
    }

    /** Rows of every kernel and just beyond; more rows than one block each. */
    @Example
    void wideRowsAreTheSpecAndKeepTheirBits() {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            for (int columns : new int[] {1024, 8192, 8193, 64_000, 130_003}) {
                int tokens = columns == 1024 ? 600 : columns == 8193 ? 150 : 3;
                Case c = new Case(tokens, columns, 5, 0, DType.F64, Values.NORMAL, columns);
                try (TestTensors tensors = new TestTensors(columns)) {
                    Run run = new Run(tensors, c, dtype, DType.F64).runAtOnce(TWIN);
                    Run want = run.exact(tensors);
                    Comparison.of("losses", run.losses, want.losses, want.lossBound(dtype, DType.F64), 1).orThrow();
                    Comparison.of("dlogits", run.dlogits, want.dlogits, want.gradientBound(dtype, DType.F64), 1)
                            .orThrow();
                    Tensor first = tensors.copy(run.dlogits, dtype);
                    run.runAtOnce(TWIN);
                    assertThat(tensors.copy(run.dlogits, dtype).segment().mismatch(first.segment())).isEqualTo(-1);
                    run.run(TWIN);
                    Comparison.of("dlogits", run.dlogits, want.dlogits, want.gradientBound(dtype, DType.F64), 1)
                            .orThrow();
                }
            }
        }
    }

    @Example
    void whatIsNotANumberIsSeen() {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
                try (TestTensors tensors = new TestTensors(3)) {
                    Run run = new Run(tensors, new Case(4, 1000, 0, 0, DType.F32, Values.NORMAL, 3), dtype, DType.F32);
                    run.logits.set(2, 777, bad);
                    run.targets.setInt(2, 5);
                    run.runAtOnce(TWIN);
                    assertThat(run.losses.get(1)).isFinite();
                    assertThat(run.losses.get(2)).isNaN();
                    assertThat(run.dlogits.get(2, 0)).isNaN();
                }
            }
        }
    }

    /** A masked column has -∞: probability 0. */
    @Example
    void minusInfinityIsNoProbability() {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            try (TestTensors tensors = new TestTensors(4)) {
                Run run = new Run(tensors, new Case(5, 300, 3, 1, DType.F64, Values.NORMAL, 4), dtype, DType.F64);
                for (int t = 0; t < 5; t++) {
                    for (int i = 0; i < 300; i++) {
                        if (i % 3 == t % 3 || i < 16) {
                            run.logits.set(t, i, Double.NEGATIVE_INFINITY);
                        }
                    }
                    run.targets.setInt(t, 60 + (t + 1) % 3);
                }
                run.runAtOnce(TWIN);
                Run want = run.exact(tensors);
                for (int t = 0; t < 5; t++) {
                    assertThat(run.losses.get(t)).isCloseTo(want.losses.get(t),
                            within(1e-5));
                    assertThat(run.dlogits.get(t, 3)).isZero();
                }
            }
        }
    }

    @Example
    void ofManyLossesTheSumHasTheSameBitsEveryTime() {
        for (DType perToken : new DType[] {DType.F32, DType.F64}) {
            try (TestTensors tensors = new TestTensors(5)) {
                Tensor losses = tensors.random("losses", perToken, Values.NORMAL, 131_075);
                Tensor want = tensors.zeros("want", DType.F64, 1);
                new CrossEntropyScalar().total(losses, want);
                double first = Double.NaN;
                for (int run = 0; run < 3; run++) {
                    Tensor total = tensors.zeros("total", DType.F64, 1);
                    TWIN.total(losses, total);
                    assertThat(total.get(0)).isCloseTo(want.get(0), within(1e-9));
                    assertThat(run == 0 ? total.get(0) : first).isEqualTo(total.get(0));
                    first = total.get(0);
                }
            }
        }
    }
}
