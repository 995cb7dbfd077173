package org.transnormer.loss;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

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

/** What every twin of {@link CrossEntropy} does. SPEC section 3.8. */
interface CrossEntropyContract {
    /** Error of an exponential beyond that of its argument, in u: that of the polynomial. */
    double EXP = 1.5;

    /** A double that is rounded to F32 and then to BF16: the first rounding is a little of the second. */
    double TWICE = 0x1p-15;

    /** tokens T, vocabulary, padding columns, a gap after each row, type of the numbers per token. */
    record Case(int tokens, int columns, int padding, int gap, DType perToken, Values values, long seed) {
    }

    CrossEntropy subject();

    /** Element type of the logits. */
    DType dtype();

    @Provide
    default Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.integers().between(0, 9),
                Arbitraries.of(1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 257), Arbitraries.of(0, 1, 7, 40),
                Arbitraries.of(0, 3), Arbitraries.of(DType.F32, DType.F64), Arbitraries.of(Values.class),
                Arbitraries.longs()).as(Case::new);
    }

    /** Never narrower than the logits. */
    default DType perToken(Case c) {
        return dtype() == DType.F64 ? DType.F64 : c.perToken;
    }

    /** One loss calculation: inputs, what the phases left, and the exact answers. */
    final class Run {
        final Tensor logits;
        final Tensor targets;
        final Tensor scale;
        final Tensor max;
        final Tensor sum;
        final Tensor target;
        final Tensor losses;
        final Tensor dlogits;
        private final Case c;

        /** Padding columns hold NaN: nothing may come of them. One row in four is ignored. */
        Run(TestTensors tensors, Case c, DType dtype, DType perToken) {
            this.c = c;
            logits = tensors.strided("logits", dtype, c.gap, c.tokens, c.columns + c.padding);
            tensors.fill(logits.slice(1, 0, c.columns), c.values);
            targets = tensors.zeros("targets", DType.I32, c.tokens);
            for (int t = 0; t < c.tokens; t++) {
                targets.setInt(t, tensors.random().nextInt(4) == 0 ? CrossEntropy.IGNORE
                        : tensors.random().nextInt(c.columns));
            }
            scale = tensors.zeros("scale", perToken, 1);
            scale.set(0, 0.37);
            max = tensors.poisoned("max", perToken, c.tokens);
            sum = tensors.poisoned("sum", perToken, c.tokens);
            target = tensors.poisoned("target", perToken, c.tokens);
            losses = tensors.poisoned("losses", perToken, c.tokens);
            dlogits = tensors.strided("dlogits", dtype, c.gap + 2, c.tokens, c.columns + c.padding);
        }

        private Run(TestTensors tensors, Run of) {
            c = of.c;
            logits = tensors.copy(of.logits, DType.F64);
            targets = of.targets;
            scale = of.scale;
            max = tensors.poisoned("max", DType.F64, c.tokens);
            sum = tensors.poisoned("sum", DType.F64, c.tokens);
            target = tensors.poisoned("target", DType.F64, c.tokens);
            losses = tensors.poisoned("losses", DType.F64, c.tokens);
            dlogits = tensors.poisoned("dlogits", DType.F64, logits.shape());
        }

        /** The spec on the same inputs, in F64. */
        Run exact(TestTensors tensors) {
            return new Run(tensors, this).run(new CrossEntropyScalar());
        }

        Run runAtOnce(CrossEntropy component) {
            component.lossAndGradient(logits, targets, c.columns, max, sum, target, scale, losses, dlogits);
            return this;
        }

        Run run(CrossEntropy component) {
            component.partial(logits, targets, 0, c.columns, max, sum, target);
            component.apply(logits, targets, 0, c.columns, max, sum, target, scale, losses, dlogits);
            return this;
        }

        /**
         * Bound on the relative error of s_t: that of exp(d) is EXP + |d| in units of the logits' u, where d is rounded;
         * the terms at the maximum are exactly 1.
         */
        double sumError(long t, DType dtype, DType perToken) {
            double terms = 0;
            for (long i = 0; i < c.columns; i++) {
                double d = logits.get(t, i) - max.get(t);
                terms += d == 0 ? 0 : StrictMath.exp(d) * (EXP - d);
            }
            return dtype.unitRoundoff() * terms / sum.get(t) + 2 * perToken.unitRoundoff()
                    + c.columns * DType.F64.unitRoundoff();
        }

        LongToDoubleFunction lossBound(DType dtype, DType perToken) {
            return t -> targets.getInt(t) == CrossEntropy.IGNORE ? 0 : sumError(t, dtype, perToken)
                    + perToken.unitRoundoff() * losses.get(t)
                    + 4 * DType.F64.unitRoundoff() * (1 + Math.abs(max.get(t) - target.get(t)));
        }

        /** exp, the factor and their product are rounded, and s is off by sumError. */
        LongToDoubleFunction gradientBound(DType dtype, DType perToken) {
            double[] sumErrors = new double[c.tokens];
            for (int t = 0; t < c.tokens; t++) {
                sumErrors[t] = sumError(t, dtype, perToken);
            }
            return flat -> {
                int t = (int) (flat / logits.dim(1));
                long i = flat % logits.dim(1);
                if (i >= c.columns || targets.getInt(t) == CrossEntropy.IGNORE) {
                    return 0;
                }
                double d = logits.get(t, i) - max.get(t);
                double p = StrictMath.exp(d) / sum.get(t);
                double u = dtype.unitRoundoff();
                double softmax = p * (u * (EXP - d + 2.01) + sumErrors[t]);
                double atTarget = p * (sumErrors[t] - d * DType.F64.unitRoundoff())
                        + u * (1 + TWICE) * Math.abs(p - 1) + 4 * DType.F64.unitRoundoff();
                return scale.get(0) * (targets.getInt(t) == i ? atTarget : softmax);
            };
        }
    }

    private static void compare(String name, Tensor got, Tensor want, LongToDoubleFunction bound) {
        Comparison.of(name, got, want, bound, 1).orThrow();
    }

    @Property(tries = 80)
    default void everythingIsTheSpec(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            compareAll(new Run(tensors, c, dtype(), perToken(c)).run(subject()), tensors);
            compareAll(new Run(tensors, c, dtype(), perToken(c)).runAtOnce(subject()), tensors);
        }
    }

    private void compareAll(Run run, TestTensors tensors) {
        Run want = run.exact(tensors);
        DType perToken = run.max.dtype();
        compare("max", run.max, want.max, t -> 0);
        compare("sum", run.sum, want.sum, t -> want.sum.get(t) * want.sumError(t, dtype(), perToken));
        compare("target", run.target, want.target, t -> 0);
        compare("losses", run.losses, want.losses, want.lossBound(dtype(), perToken));
        compare("dlogits", run.dlogits, want.dlogits, want.gradientBound(dtype(), perToken));
    }

    @Property(tries = 40)
    default void inPlaceOrWithoutGradientGivesTheSameBits(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            Run run = new Run(tensors, c, dtype(), perToken(c)).run(subject());
            Tensor losses = tensors.poisoned("losses", perToken(c), c.tokens);
            subject().apply(run.logits, run.targets, 0, c.columns, run.max, run.sum, run.target, run.scale, losses,
                    null);
            compare("losses", losses, run.losses, i -> 0);
            losses.fill(Double.NaN);
            subject().apply(run.logits, run.targets, 0, c.columns, run.max, run.sum, run.target, run.scale, losses,
                    run.logits);
            compare("losses", losses, run.losses, i -> 0);
            compare("dlogits in place", run.logits, run.dlogits, i -> 0);

            Run atOnce = new Run(tensors, c, dtype(), perToken(c)).runAtOnce(subject());
            losses.fill(Double.NaN);
            subject().lossAndGradient(atOnce.logits, atOnce.targets, c.columns, atOnce.max, atOnce.sum, atOnce.target,
                    atOnce.scale, losses, null);
            compare("losses at once", losses, atOnce.losses, i -> 0);
            losses.fill(Double.NaN);
            subject().lossAndGradient(atOnce.logits, atOnce.targets, c.columns, atOnce.max, atOnce.sum, atOnce.target,
                    atOnce.scale, losses, atOnce.logits);
            compare("losses at once, in place", losses, atOnce.losses, i -> 0);
            compare("dlogits at once, in place", atOnce.logits, atOnce.dlogits, i -> 0);
        }
    }

    /** The vocabulary cut into ranks, some perhaps with padding only: losses and gradients of the whole. */
    @Property(tries = 60)
    default void ranksTogetherAreTheWhole(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            Run run = new Run(tensors, c, dtype(), perToken(c));
            Run want = run.exact(tensors);
            int ranks = 2 + tensors.random().nextInt(3);
            long width = Math.ceilDiv(run.logits.dim(1), ranks);
            Tensor[] max = new Tensor[ranks];
            Tensor globalMax = tensors.zeros("globalMax", perToken(c), c.tokens);
            globalMax.fill(Double.NEGATIVE_INFINITY);
            Tensor sum = tensors.zeros("sum", perToken(c), c.tokens);
            Tensor target = tensors.zeros("target", perToken(c), c.tokens);
            Tensor[] sums = new Tensor[ranks];
            for (int rank = 0; rank < ranks; rank++) {
                max[rank] = tensors.poisoned("max", perToken(c), c.tokens);
                sums[rank] = tensors.poisoned("sum", perToken(c), c.tokens);
                Tensor own = tensors.poisoned("target", perToken(c), c.tokens);
                subject().partial(shard(run.logits, width, rank), run.targets, width * rank, columns(c, width, rank),
                        max[rank], sums[rank], own);
                for (int t = 0; t < c.tokens; t++) {
                    globalMax.set(t, Math.max(globalMax.get(t), max[rank].get(t)));
                    target.set(t, target.get(t) + own.get(t));
                }
            }
            for (int rank = 0; rank < ranks; rank++) {
                subject().rescale(max[rank], globalMax, sums[rank]);
                for (int t = 0; t < c.tokens; t++) {
                    sum.set(t, sum.get(t) + sums[rank].get(t));
                }
            }
            // rescaling and adding round once each per rank
            double more = (2 * ranks + 2) * perToken(c).unitRoundoff();
            for (int rank = 0; rank < ranks; rank++) {
                Tensor losses = tensors.poisoned("losses", perToken(c), c.tokens);
                subject().apply(shard(run.logits, width, rank), run.targets, width * rank, columns(c, width, rank),
                        globalMax, sum, target, run.scale, losses, shard(run.dlogits, width, rank));
                LongToDoubleFunction bound = want.lossBound(dtype(), perToken(c));
                // a shard's exponentials are taken relative to its own maximum: another argument, another error
                compare("losses", losses, want.losses, t -> run.targets.getInt(t) == CrossEntropy.IGNORE ? 0
                        : bound.applyAsDouble(t) + more + shardError(want, t, width, ranks));
            }
            LongToDoubleFunction bound = want.gradientBound(dtype(), perToken(c));
            compare("dlogits", run.dlogits, want.dlogits, flat -> {
                long t = flat / run.logits.dim(1);
                double p = flat % run.logits.dim(1) >= c.columns ? 0
                        : StrictMath.exp(want.logits.getFlat(flat) - want.max.get(t)) / want.sum.get(t);
                return bound.applyAsDouble(flat)
                        + (p == 0 ? 0 : 0.37 * p * (more + shardError(want, t, width, ranks)));
            });
        }
    }

    /** A NaN of one rank's logits reaches every rank's loss, though a maximum over ranks may lose it: the sum does not. */
    @Example
    default void aRanksNanReachesTheLossPastAMaximumThatLosesIt() {
        for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
            try (TestTensors tensors = new TestTensors(3)) {
                Case c = new Case(4, 40, 0, 0, dtype() == DType.F64 ? DType.F64 : DType.F32, Values.NORMAL, 0);
                Run run = new Run(tensors, c, dtype(), perToken(c));
                run.logits.set(2, 33, bad);
                run.targets.setInt(2, 1);
                Tensor max = tensors.poisoned("max", perToken(c), c.tokens);
                Tensor sum = tensors.poisoned("sum", perToken(c), c.tokens);
                Tensor globalMax = tensors.zeros("globalMax", perToken(c), c.tokens);
                subject().partial(shard(run.logits, 20, 1), run.targets, 20, 20, max, sum, run.target);
                for (int t = 0; t < c.tokens; t++) {
                    globalMax.set(t, Double.isNaN(max.get(t)) ? 3 : Math.max(3, max.get(t)));
                }
                subject().rescale(max, globalMax, sum);
                assertThat(sum.get(2)).isNaN();
                assertThat(sum.get(1)).isFinite();
            }
        }
    }

    private double shardError(Run want, long t, long width, int ranks) {
        double error = 0;
        for (int rank = 0; rank < ranks; rank++) {
            double own = 0;
            double max = Double.NEGATIVE_INFINITY;
            long end = width * rank + columns(want.c, width, rank);
            for (long i = width * rank; i < end; i++) {
                max = Math.max(max, want.logits.get(t, i));
            }
            for (long i = width * rank; i < end; i++) {
                double d = want.logits.get(t, i) - max;
                own += StrictMath.exp(want.logits.get(t, i) - want.max.get(t)) * (EXP - d);
            }
            error += own;
        }
        return dtype().unitRoundoff() * error / want.sum.get(t) + 1e-15 * (1 + want.max.get(t));
    }

    private static Tensor shard(Tensor logits, long width, int rank) {
        long from = Math.min(width * rank, logits.dim(1));
        return logits.slice(1, from, Math.min(from + width, logits.dim(1)));
    }

    private static long columns(Case c, long width, int rank) {
        return Math.max(0, Math.min(width, c.columns - width * rank));
    }

    /** The softmax sums to 1: a row of the gradient to 0. */
    @Property(tries = 30)
    default void gradientRowsSumToZero(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            Run run = new Run(tensors, c, dtype(), perToken(c)).run(subject());
            Run exact = run.exact(tensors);
            LongToDoubleFunction bound = exact.gradientBound(dtype(), perToken(c));
            for (int t = 0; t < c.tokens; t++) {
                double sum = 0;
                double allowed = 1e-14;
                for (long i = 0; i < c.columns; i++) {
                    sum += run.dlogits.get(t, i);
                    allowed += bound.applyAsDouble(t * run.logits.dim(1) + i);
                }
                assertThat(sum).isCloseTo(0, within(allowed));
            }
        }
    }

    /** Sums in F64 are good to 1e-16 per term, so a loss of 1e-9 keeps five digits; 1 + 1e-9 is 1 in F32. */
    @Example
    default void tinyLossesKeepTheirDigits() {
        try (TestTensors tensors = new TestTensors(0)) {
            Run run = new Run(tensors, new Case(4, 101, 0, 0, DType.F64, Values.CONSTANT, 0), dtype(), DType.F64);
            double[] gaps = {5, 10, 15, 25};
            for (int t = 0; t < 4; t++) {
                for (int i = 0; i < 101; i++) {
                    run.logits.set(t, i, i == 17 ? gaps[t] : 0);
                }
                run.targets.setInt(t, 17);
            }
            run.run(subject());
            for (int t = 0; t < 4; t++) {
                double want = StrictMath.log1p(100 * StrictMath.exp(-gaps[t]));
                assertThat(run.losses.get(t)).isCloseTo(want, within(2e-7 * want + 101 * 0x1p-53));
                double rounding = dtype() == DType.BF16 ? dtype().unitRoundoff() * want : 0;
                assertThat(run.dlogits.get(t, 17)).isCloseTo(0.37 * StrictMath.expm1(-want),
                        within(3e-7 * want + rounding + 101 * 0x1p-53));
            }
        }
    }

    @Example
    default void totalIsAddedTo() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor losses = tensors.zeros("losses", DType.F32, 1001);
            losses.fill(0.1);
            Tensor total = tensors.zeros("total", DType.F64, 1);
            total.set(0, 5);
            subject().total(losses, total);
            assertThat(total.get(0)).isCloseTo(5 + 1001 * (double) 0.1f, within(1e-12));
        }
    }

    @Example
    default void badArgumentsAreNamed() {
        try (TestTensors tensors = new TestTensors(0)) {
            Run run = new Run(tensors, new Case(3, 5, 0, 0, DType.F64, Values.NORMAL, 0), dtype(), DType.F64);
            assertThatThrownBy(() -> subject().partial(run.logits, run.targets, 0, 6, run.max, run.sum, run.target))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("6 columns of logits");
            assertThatThrownBy(() -> subject().partial(run.logits, run.max, 0, 5, run.max, run.sum, run.target))
                    .hasMessageContaining("targets is max F64 [3], want I32");
            assertThatThrownBy(() -> subject().apply(run.logits, run.targets, 0, 5, run.max, run.sum, run.target,
                    run.scale, run.losses, run.logits.slice(1, 0, 4))).hasMessageContaining("want [3, 5]");
            assertThatThrownBy(() -> subject().rescale(run.max, run.scale, run.sum)).hasMessageContaining("globalMax");
        }
    }

    @Example
    default void targetsOutsideTheVocabularyAreFoundOnTheHost() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor targets = tensors.zeros("batch.targets", DType.I32, 3);
            targets.setInt(1, CrossEntropy.IGNORE);
            targets.setInt(2, 99);
            CrossEntropy.checkTargets(targets, 100);
            assertThatThrownBy(() -> CrossEntropy.checkTargets(targets, 99))
                    .hasMessage("batch.targets[2] is 99: neither one of 99 tokens nor -100 (ignored)");
            targets.setInt(0, -1);
            assertThatThrownBy(() -> CrossEntropy.checkTargets(targets, 100)).hasMessageContaining("[0] is -1");
        }
    }
}
