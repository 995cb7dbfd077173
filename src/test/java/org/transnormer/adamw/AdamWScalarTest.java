package org.transnormer.adamw;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

class AdamWScalarTest implements AdamWContract {
    @Override
    public AdamW subject() {
        return new AdamWScalar();
    }

    @Override
    public DType dtype() {
        return DType.F64;
    }

    /** Bias correction makes the first update lr · sign(g), whatever the size of g. */
    @Example
    void firstUpdate() {
        try (TestTensors tensors = new TestTensors(0)) {
            for (double g : new double[] {1e-3, -2, 1e6}) {
                Run run = new Run(tensors, new Case(1, 1, 1, 0.999, true, 1, Values.NORMAL, 0), DType.F64, DType.F64);
                run.master.set(0, 0, 3);
                run.gradient.set(0, 0, g);
                run.m.fill(0);
                run.v.fill(0);
                run.run(subject());
                assertThat(run.m.get(0, 0)).isCloseTo(0.1 * g, within(1e-9));
                assertThat(run.v.get(0, 0)).isCloseTo(0.001 * g * g, within(1e-15 * g * g));
                double decayed = 3 * (1 - 1e-2 * 0.1);
                assertThat(run.master.get(0, 0)).isCloseTo(decayed - 1e-2 * g / (Math.abs(g) + 1e-8), within(1e-14));
            }
        }
    }

    /** Two updates worked out by hand with β = ½: g = 1 then 3. */
    @Example
    void secondUpdate() {
        try (TestTensors tensors = new TestTensors(0)) {
            AdamW.Constants constants = new AdamW.Constants(0.5, 0.5, 1e-8, 0);
            Tensor w = tensors.zeros("w", DType.F64, 1);
            Tensor g = tensors.zeros("g", DType.F64, 1);
            Tensor m = tensors.zeros("m", DType.F64, 1);
            Tensor v = tensors.zeros("v", DType.F64, 1);
            Tensor scalars = tensors.zeros("scalars", DType.F64, 4);
            for (int t = 1; t <= 2; t++) {
                g.set(0, 2 * t - 1);
                double[] values = {0.1, constants.correction1(t), constants.correction2(t), 1};
                for (int i = 0; i < 4; i++) {
                    scalars.set(i, values[i]);
                }
                subject().step(w, w, g, m, v, constants, true, scalars);
            }
            assertThat(m.get(0)).isEqualTo(1.75);
            assertThat(v.get(0)).isEqualTo(4.75);
            double want = -0.1 - 0.1 * (1.75 / 0.75) / Math.sqrt(4.75 / 0.75);
            assertThat(w.get(0)).isCloseTo(want, within(1e-8));
        }
    }

    @Example
    void corrections() {
        AdamW.Constants constants = new AdamW.Constants(0, 0.999, 1e-8, 0);
        assertThat(constants.correction1(1)).isEqualTo(1);
        assertThat(constants.correction2(1)).isCloseTo(0.001, within(1e-18));
        assertThat(constants.correction2(2)).isCloseTo(0.001999, within(1e-17));
        assertThat(constants.correction2(1_000_000)).isEqualTo(1);
    }

    /** In narrow types: one rounding of each output. */
    @Property(tries = 20)
    void roundsOnce(@ForAll("cases") Case c) {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            try (TestTensors tensors = new TestTensors(c.seed())) {
                Run run = new Run(tensors, c, dtype, dtype);
                Run want = run.copy(tensors).run(subject());
                run.run(subject());
                Tolerance once = new Tolerance(1, 1);
                once.compare("m", run.m, want.m, null, dtype.unitRoundoff()).orThrow();
                once.compare("v", run.v, want.v, null, dtype.unitRoundoff()).orThrow();
                once.compare("master", run.master, want.master, null, dtype.unitRoundoff()).orThrow();
            }
        }
    }
}
