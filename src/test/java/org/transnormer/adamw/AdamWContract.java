package org.transnormer.adamw;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.function.LongToDoubleFunction;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Comparison;

/** What every twin of {@link AdamW} does. SPEC section 3.9. */
interface AdamWContract {
    /** Matrix of rows × columns, update t. */
    record Case(int rows, int columns, long t, double beta2, boolean decays, double clip, Values values, long seed) {
        AdamW.Constants constants() {
            return new AdamW.Constants(0.9, beta2, 1e-8, 0.1);
        }
    }

    AdamW subject();

    /** Element type of master, gradient and moments. */
    DType dtype();

    @Provide
    default Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.of(1, 2, 7), Arbitraries.of(0, 1, 15, 16, 17, 31, 33, 100, 515),
                Arbitraries.of(1L, 2L, 10L, 100_000L), Arbitraries.of(0.9, 0.95, 0.999), Arbitraries.of(true, false),
                Arbitraries.of(1.0, 0.3, 1e-7), Arbitraries.of(Values.class), Arbitraries.longs()).as(Case::new);
    }

    /** The tensors of one update. */
    final class Run {
        static final double LEARNING_RATE = 1e-2;
        final Tensor master;
        final Tensor weight;
        final Tensor gradient;
        final Tensor m;
        final Tensor v;
        final Tensor scalars;
        private final Case c;

        Run(TestTensors tensors, Case c, DType dtype, DType weightType) {
            this.c = c;
            master = tensors.random("master", dtype, Values.NORMAL, c.rows, c.columns);
            weight = weightType == dtype ? master : tensors.poisoned("weight", weightType, c.rows, c.columns);
            gradient = tensors.random("gradient", dtype, c.values, c.rows, c.columns);
            m = tensors.random("m", dtype, c.values, c.rows, c.columns);
            v = tensors.random("v", dtype, c.values, c.rows, c.columns);
            for (long i = 0; i < v.size(); i++) {
                m.setFlat(i, m.getFlat(i) * c.clip);
                v.setFlat(i, v.getFlat(i) * v.getFlat(i) * c.clip * c.clip);
            }
            scalars = tensors.zeros("scalars", DType.F64, 4);
            scalars.set(AdamW.Scalar.LEARNING_RATE.ordinal(), LEARNING_RATE);
            scalars.set(AdamW.Scalar.CORRECTION1.ordinal(), c.constants().correction1(c.t));
            scalars.set(AdamW.Scalar.CORRECTION2.ordinal(), c.constants().correction2(c.t));
            scalars.set(AdamW.Scalar.CLIP.ordinal(), c.clip);
        }

        private Run(TestTensors tensors, Run of) {
            c = of.c;
            master = tensors.copy(of.master, DType.F64);
            weight = master;
            gradient = tensors.copy(of.gradient, DType.F64);
            m = tensors.copy(of.m, DType.F64);
            v = tensors.copy(of.v, DType.F64);
            scalars = of.scalars;
        }

        /** The same tensors in F64. */
        Run copy(TestTensors tensors) {
            return new Run(tensors, this);
        }

        Run run(AdamW component) {
            component.step(master, weight, gradient, m, v, c.constants(), c.decays, scalars);
            return this;
        }

        /** β₁ |m| + (1-β₁) |g| before the update. */
        double meanTerms(long i) {
            return 0.9 * Math.abs(m.getFlat(i)) + 0.1 * Math.abs(c.clip * gradient.getFlat(i));
        }

        double square(long i) {
            double g = c.clip * gradient.getFlat(i);
            return c.beta2 * v.getFlat(i) + (1 - c.beta2) * g * g;
        }

        /** lr (meanTerms / c₁) / (√(v / c₂) + ε). */
        double updateTerms(long i) {
            return LEARNING_RATE * meanTerms(i) / c.constants().correction1(c.t)
                    / (Math.sqrt(square(i) / c.constants().correction2(c.t)) + 1e-8);
        }
    }

    /**
     * In units of u: m has 2 roundings in the clipped g, 2 in the distance and its factor, 1 of the result, all bounded
     * by 7 meanTerms; v likewise, g squared, by 9; the update inherits 7 + 9/2 and adds 5 for root, its factor, ε,
     * quotient and rate; w is rounded twice and its decay factor once.
     */
    @Property(tries = 40)
    default void everythingIsTheSpec(@ForAll("cases") Case c) {
        for (DType weightType : new DType[] {dtype(), DType.BF16}) {
            try (TestTensors tensors = new TestTensors(c.seed)) {
                Run run = new Run(tensors, c, dtype(), weightType);
                Run before = run.copy(tensors);
                Run want = run.copy(tensors).run(new AdamWScalar());
                run.run(subject());
                double u = dtype().unitRoundoff();
                compare("m", run.m, want.m, i -> 7 * u * before.meanTerms(i));
                compare("v", run.v, want.v, i -> 9 * u * before.square(i));
                compare("master", run.master, want.master,
                        i -> u * (2.1 * Math.abs(before.master.getFlat(i)) + 17 * before.updateTerms(i)));
                Tensor rounded = tensors.copy(run.master, weightType);
                compare("weight", run.weight, rounded, i -> 0);
            }
        }
    }

    private static void compare(String name, Tensor got, Tensor want, LongToDoubleFunction bound) {
        Comparison.of(name, got, want, bound, 1).orThrow();
    }

    @Property(tries = 20)
    default void withoutGradientOnlyTheDecayIsLeft(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            Run run = new Run(tensors, c, dtype(), dtype());
            run.gradient.fill(0);
            run.m.fill(0);
            run.v.fill(0);
            Run before = run.copy(tensors);
            run.run(subject());
            double factor = c.decays ? 1 - Run.LEARNING_RATE * 0.1 : 1;
            for (long i = 0; i < run.master.size(); i++) {
                assertThat(run.m.getFlat(i)).isZero();
                assertThat(run.v.getFlat(i)).isZero();
                before.master.setFlat(i, factor * before.master.getFlat(i));
            }
            double allowed = c.decays ? 1.1 * dtype().unitRoundoff() + 3 * DType.F64.unitRoundoff() : 0;
            compare("master", run.master, before.master, i -> allowed * Math.abs(before.master.getFlat(i)));
        }
    }

    @Example
    default void badArgumentsAreNamed() {
        try (TestTensors tensors = new TestTensors(0)) {
            Case c = new Case(3, 5, 1, 0.9, true, 1, Values.NORMAL, 0);
            Run run = new Run(tensors, c, dtype(), dtype());
            Tensor wide = tensors.zeros("wide", dtype(), 3, 6);
            assertThatThrownBy(() -> subject().step(run.master, run.weight, wide, run.m, run.v, c.constants(), true,
                    run.scalars)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("gradient is wide").hasMessageContaining("want [3, 5]");
            assertThatThrownBy(() -> subject().step(run.master, run.weight, wide.slice(1, 0, 5), run.m, run.v,
                    c.constants(), true, run.scalars)).hasMessageContaining("contiguous");
            assertThatThrownBy(() -> subject().step(run.master, run.weight, run.gradient, run.m, run.v, c.constants(),
                    true, run.m)).hasMessageContaining("scalars is m");
            assertThatThrownBy(() -> new AdamW.Constants(0.9, 1, 1e-8, 0))
                    .hasMessageContaining("0.9, 1.0, 1.0E-8, 0.0");
            assertThatThrownBy(() -> new AdamW.Constants(Double.NaN, 0.9, 1e-8, 0)).hasMessageContaining("NaN");
        }
    }
}
