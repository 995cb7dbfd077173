package org.transnormer.loss;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.function.DoubleSupplier;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.FiniteDifference;
import org.transnormer.verify.Tolerance;

class CrossEntropyScalarTest implements CrossEntropyContract {
    @Override
    public CrossEntropy subject() {
        return new CrossEntropyScalar();
    }

    @Override
    public DType dtype() {
        return DType.F64;
    }

    @Example
    void knownValues() {
        try (TestTensors tensors = new TestTensors(0)) {
            Run run = new Run(tensors, new Case(2, 2, 1, 0, DType.F64, Values.NORMAL, 0), DType.F64, DType.F64);
            for (int t = 0; t < 2; t++) {
                run.logits.set(t, 0, 7);
                run.logits.set(t, 1, 7 + Math.log(3));
                run.targets.setInt(t, t == 0 ? 0 : CrossEntropy.IGNORE);
            }
            run.scale.set(0, 2);
            run.run(subject());
            assertThat(run.losses.get(0)).isCloseTo(Math.log(4), within(1e-15));
            assertThat(run.losses.get(1)).isZero();
            double[] want = {-1.5, 1.5, 0, 0, 0, 0};
            for (int i = 0; i < 6; i++) {
                assertThat(run.dlogits.getFlat(i)).isCloseTo(want[i], within(1e-14));
            }
        }
    }

    @Property(tries = 10)
    void gradientIsTheDerivative(@ForAll long seed) {
        try (TestTensors tensors = new TestTensors(seed)) {
            Run run = new Run(tensors, new Case(4, 6, 0, 0, DType.F64, Values.NORMAL, seed), DType.F64, DType.F64);
            run.targets.setInt(0, 3);
            run.run(subject());
            Tensor total = tensors.zeros("total", DType.F64, 1);
            Tensor direction = tensors.random("direction", DType.F64, Values.NORMAL, 4, 6);
            DoubleSupplier loss = () -> {
                subject().partial(run.logits, run.targets, 0, 6, run.max, run.sum, run.target);
                subject().apply(run.logits, run.targets, 0, 6, run.max, run.sum, run.target, run.scale, run.losses,
                        null);
                total.fill(0);
                subject().total(run.losses, total);
                return run.scale.get(0) * total.get(0);
            };
            FiniteDifference.check("dlogits", loss, run.logits, run.dlogits,
                    tensors.zeros("numeric", DType.F64, 4, 6)).orThrow();
            double along = 0;
            for (int i = 0; i < 24; i++) {
                along += direction.getFlat(i) * run.dlogits.getFlat(i);
            }
            assertThat(FiniteDifference.directional(loss, run.logits, direction)).isCloseTo(along, within(1e-9));
        }
    }

    /** In narrow types: one rounding, of the output only. */
    @Property(tries = 30)
    void roundsOnce(@ForAll("cases") Case c) {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            try (TestTensors tensors = new TestTensors(c.seed())) {
                Run run = new Run(tensors, c, dtype, DType.F64).run(subject());
                Run want = run.exact(tensors);
                new Tolerance(1, 1).compare("dlogits", run.dlogits, want.dlogits, null, dtype.unitRoundoff())
                        .orThrow();
                new Tolerance(1, 1).compare("losses", run.losses, want.losses, null, DType.F64.unitRoundoff())
                        .orThrow();
            }
        }
    }
}
