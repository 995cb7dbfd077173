package org.transnormer.activation;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.function.LongToDoubleFunction;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** What every twin of {@link Activation} must do. SPEC section 3.5. */
interface ActivationContract {
    /**
     * At most five roundings after an exponential that is good to 0.6 units: 6 u, of the terms that {@link #terms} and
     * {@link #derivativeTerms} name; on average half of that.
     */
    Tolerance TOLERANCE = new Tolerance(6, 3);
    /** Where an exponential underflows, it is good to the smallest normal number. */
    double UNDERFLOW = 0x1p-126;

    record Case(long tokens, long heads, long channels, long gap, Values values, long seed) {
    }

    Activation subject();

    DType dtype();

    @Provide
    default Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.longs().between(1, 9), Arbitraries.longs().between(1, 4),
                Arbitraries.of(1L, 3L, 10L, 15L, 16L, 17L, 32L, 45L, 128L), Arbitraries.longs().between(0, 2),
                Arbitraries.of(Values.class), Arbitraries.longs()).as(Case::new);
    }

    /** Of equal inputs all errors are one: their mean is no smaller. */
    private static Tolerance tolerance(Values values) {
        return values == Values.CONSTANT ? new Tolerance(TOLERANCE.c(), TOLERANCE.c()) : TOLERANCE;
    }

    @Property(tries = 120)
    default void forwardMatchesTheSpec(@ForAll ActivationFunction f, @ForAll("cases") Case c,
            @ForAll boolean inPlace) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = operand(tensors, "x", c);
            Tensor exact = tensors.copy(x, DType.F64);
            Tensor want = tensors.zeros("y", DType.F64, x.shape());
            new ActivationScalar().forward(f, exact, want);
            Tensor terms = each(tensors, exact, i -> terms(f, exact, i));
            Tensor y = inPlace ? x : tensors.strided("y", dtype(), c.gap(), x.shape());
            subject().forward(f, x, y);
            tolerance(c.values()).stored(dtype()).compare(f + " y", y, want, terms, dtype().unitRoundoff()).orThrow();
        }
    }

    @Property(tries = 120)
    default void backwardMatchesTheSpec(@ForAll ActivationFunction f, @ForAll("cases") Case c,
            @ForAll boolean inPlace) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = operand(tensors, "x", c);
            Tensor dy = tensors.fill(tensors.strided("dy", dtype(), c.gap(), x.shape()), Values.NORMAL);
            Tensor exact = tensors.copy(x, DType.F64);
            Tensor exactDy = tensors.copy(dy, DType.F64);
            Tensor want = tensors.zeros("dx", DType.F64, x.shape());
            new ActivationScalar().backward(f, exact, exactDy, want);
            Tensor terms = each(tensors, exact, i -> exactDy.getFlat(i) * derivativeTerms(f, exact, i));
            Tensor dx = inPlace ? dy : tensors.strided("dx", dtype(), c.gap(), x.shape());
            subject().backward(f, x, dy, dx);
            tolerance(c.values()).stored(dtype()).compare(f + " dx", dx, want, terms, dtype().unitRoundoff()).orThrow();
        }
    }

    /** Gaps between the heads of a token change nothing, and stay as they are. */
    @Property(tries = 40)
    default void headsMayLieApart(@ForAll ActivationFunction f, @ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor together = tensors.random("x", dtype(), c.values(), c.tokens(), c.heads(), c.channels());
            Tensor dy = tensors.random("dy", dtype(), Values.NORMAL, together.shape());
            Tensor y = tensors.poisoned("y", dtype(), together.shape());
            Tensor dx = tensors.poisoned("dx", dtype(), together.shape());
            subject().forward(f, together, y);
            subject().backward(f, together, dy, dx);
            Tensor[] apart = new Tensor[4];
            Tensor[] wide = new Tensor[4];
            for (int i = 0; i < wide.length; i++) {
                wide[i] = tensors.poisoned("wide", dtype(), c.tokens(), c.heads(), c.channels() + c.gap() + 1);
                apart[i] = wide[i].slice(2, 0, c.channels());
            }
            apart[0].copyFrom(together);
            apart[1].copyFrom(dy);
            subject().forward(f, apart[0], apart[2]);
            subject().backward(f, apart[0], apart[1], apart[3]);
            for (long i = 0; i < y.size(); i++) {
                assertThat(apart[2].getFlat(i)).as("%s y[%d]", f, i).isEqualTo(y.getFlat(i));
                assertThat(apart[3].getFlat(i)).as("%s dx[%d]", f, i).isEqualTo(dx.getFlat(i));
            }
            for (Tensor each : wide) {
                Tensor gaps = each.slice(2, c.channels(), each.dim(2));
                for (long i = 0; i < gaps.size(); i++) {
                    assertThat(gaps.getFlat(i)).isNaN();
                }
            }
        }
    }

    /** Sum of the sizes of what f(x_i) is made of. */
    private static double terms(ActivationFunction f, Tensor x, long i) {
        double z = x.getFlat(i);
        return switch (f) {
            case SILU -> Math.abs(z) * (ActivationScalar.value(ActivationFunction.SIGMOID, z) + UNDERFLOW);
            case SIGMOID -> ActivationScalar.value(f, z) + UNDERFLOW;
            case ELU, ONE_PLUS_ELU, TWO_PLUS_ELU ->
                    (z < -0.5 ? 1 : Math.abs(z)) + (f == ActivationFunction.ELU ? 0 : 3);
            case EXP -> exponential(x, i);
            case SINE -> 1;
            case GELU, RELU, LEAK, IDENTITY -> Math.abs(z);
        };
    }

    /** The same for f'(x_i). */
    private static double derivativeTerms(ActivationFunction f, Tensor x, long i) {
        double z = x.getFlat(i);
        double s = ActivationScalar.value(ActivationFunction.SIGMOID, z);
        double complement = ActivationScalar.value(ActivationFunction.SIGMOID, -z);
        return switch (f) {
            case SILU -> s * (1 + Math.abs(z) * complement) + (1 + Math.abs(z)) * UNDERFLOW;
            case SIGMOID -> s * complement + UNDERFLOW;
            case ELU, ONE_PLUS_ELU, TWO_PLUS_ELU -> Math.exp(Math.min(z, 0)) + UNDERFLOW;
            case EXP -> exponential(x, i);
            case GELU, RELU, LEAK, IDENTITY, SINE -> 1 + Math.abs(z);
        };
    }

    /** e^(x - max) carries the rounding of x - max as a relative error. */
    private static double exponential(Tensor x, long i) {
        long channels = x.dim(2);
        double max = Double.NEGATIVE_INFINITY;
        for (long j = i / channels * channels; j < (i / channels + 1) * channels; j++) {
            max = Math.max(max, x.getFlat(j));
        }
        double z = x.getFlat(i) - max;
        return Math.exp(z) * (1 - z) + UNDERFLOW;
    }

    private Tensor operand(TestTensors tensors, String name, Case c) {
        return tensors.fill(tensors.strided(name, dtype(), c.gap(), c.tokens(), c.heads(), c.channels()), c.values());
    }

    private static Tensor each(TestTensors tensors, Tensor x, LongToDoubleFunction term) {
        Tensor y = tensors.zeros("terms", DType.F64, x.shape());
        for (long i = 0; i < x.size(); i++) {
            y.setFlat(i, term.applyAsDouble(i));
        }
        return y;
    }
}
