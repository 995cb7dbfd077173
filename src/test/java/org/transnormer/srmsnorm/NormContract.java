package org.transnormer.srmsnorm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.srmsnorm.NormCase.Inputs;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** What every twin of every {@link Norm} does. SPEC section 3.1. */
interface NormContract {
    /** What the argument dx of a backward may also be. */
    enum InPlace {
        NO,
        DY,
        RESIDUAL
    }

    Norm subject();

    /** The scalar twin. */
    Norm spec();

    NormType type();

    /** Element type of the matrices. */
    DType dtype();

    /** Element type of weight, bias and their gradients. */
    default DType parameterType() {
        return dtype();
    }

    /** Element type of statistics and sums. */
    DType statisticsType();

    /** Of y and dgate; width d. */
    Tolerance forwardTolerance(long d);

    /** Of dx. */
    Tolerance inputTolerance(long d);

    /** Of the gradients of weight and bias, summed over {@code tokens}. */
    Tolerance parameterTolerance(long d, long tokens);

    @Provide
    default Arbitrary<NormCase> cases() {
        return Combinators.combine(Arbitraries.of(1L, 1L, 2L, 2L, 3L, 3L, 5L, 7L, 17L, 65L, 130L),
                Arbitraries.of(1L, 2L, 7L, 15L, 16L, 17L, 31L, 32L, 33L, 63L, 64L, 65L, 100L, 257L),
                Arbitraries.of(0L, 1L, 5L), Arbitraries.of(true, false), Arbitraries.of(true, false),
                Arbitraries.of(Values.class), Arbitraries.longs()).as(NormCase::new);
    }

    @Property(tries = 60)
    default void forwardMatchesTheSpec(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype(), parameterType());
            Tensor y = c.output(tensors, "y", dtype());
            forward(tensors, subject(), statisticsType(), in, y);
            Inputs exact = in.in(tensors, DType.F64);
            Tensor want = tensors.poisoned("y", DType.F64, c.tokens(), c.width());
            forward(tensors, spec(), DType.F64, exact, want);
            forwardTolerance(c.width()).stored(dtype())
                    .compare("y", y, want, terms(tensors, c, exact).y(), dtype().unitRoundoff())
                    .orThrow();
        }
    }

    @Property(tries = 80)
    default void backwardMatchesTheSpec(@ForAll("cases") NormCase c, @ForAll InPlace inPlace) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype(), parameterType());
            Inputs exact = in.in(tensors, DType.F64);
            Tensor dx = inPlace == InPlace.DY ? in.dy()
                    : inPlace == InPlace.RESIDUAL && c.residual() ? in.residual() : c.output(tensors, "dx", dtype());
            Tensor dgate = c.gated() ? c.output(tensors, "dgate", dtype()) : null;
            NormParameters start = c.inputs(tensors, type(), dtype(), parameterType()).parameters();
            NormParameters got = NormCase.copy(tensors, start, parameterType());
            backward(tensors, subject(), statisticsType(), in, dx, dgate, got);
            Tensor wantDx = tensors.poisoned("dx", DType.F64, c.tokens(), c.width());
            Tensor wantDgate = c.gated() ? tensors.poisoned("dgate", DType.F64, c.tokens(), c.width()) : null;
            NormParameters want = NormCase.copy(tensors, start, DType.F64);
            backward(tensors, spec(), DType.F64, exact, wantDx, wantDgate, want);
            Terms terms = terms(tensors, c, exact);
            double u = dtype().unitRoundoff();
            inputTolerance(c.width()).stored(dtype()).compare("dx", dx, wantDx, terms.dx(), u).orThrow();
            if (c.gated()) {
                forwardTolerance(c.width()).stored(dtype()).compare("dgate", dgate, wantDgate, terms.dgate(), u)
                        .orThrow();
            }
            if (type().hasWeight()) {
                parameterTolerance(c.width(), c.tokens()).stored(parameterType())
                        .compare("dweight", got.weight(), want.weight(),
                                plus(terms.dweight(), tensors.magnitude(start.weight())),
                                parameterType().unitRoundoff())
                        .orThrow();
            }
            if (type().hasBias()) {
                parameterTolerance(c.width(), c.tokens()).stored(parameterType())
                        .compare("dbias", got.bias(), want.bias(),
                                plus(terms.dbias(), tensors.magnitude(start.bias())), parameterType().unitRoundoff())
                        .orThrow();
            }
        }
    }

    /** Partial sums of two ranks, added, do what one rank with all channels does. */
    @Property(tries = 40)
    default void twoRanksAreOne(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype(), parameterType());
            Inputs exact = in.in(tensors, DType.F64);
            long cut = tensors.random().nextLong(c.width() + 1);
            Inputs[] ranks = {in.channels(0, cut), in.channels(cut, c.width())};
            Tensor statistics = tensors.zeros("statistics", statisticsType(), c.tokens(), subject().statistics());
            Tensor sums = tensors.zeros("sums", statisticsType(), c.tokens(), subject().statistics());
            for (Inputs rank : ranks) {
                Tensor part = tensors.poisoned("statistics", statisticsType(), statistics.shape());
                subject().partial(rank.x(), part);
                plus(statistics, part);
            }
            for (Inputs rank : ranks) {
                Tensor part = tensors.poisoned("sums", statisticsType(), sums.shape());
                subject().backwardPartial(rank.x(), statistics, c.width(), rank.parameters(), rank.gate(), rank.dy(),
                        part);
                plus(sums, part);
            }
            Tensor y = c.output(tensors, "y", dtype());
            Tensor dx = c.output(tensors, "dx", dtype());
            Tensor dgate = c.gated() ? c.output(tensors, "dgate", dtype()) : null;
            for (int i = 0; i < 2; i++) {
                long from = i == 0 ? 0 : cut;
                long to = i == 0 ? cut : c.width();
                Inputs rank = ranks[i];
                subject().apply(rank.x(), statistics, c.width(), rank.parameters(), rank.gate(), y.slice(1, from, to));
                NormParameters dparameters = NormCase.copy(tensors, rank.parameters(), parameterType());
                subject().backwardApply(rank.x(), statistics, sums, c.width(), rank.parameters(), rank.gate(),
                        rank.dy(), rank.residual(), dx.slice(1, from, to),
                        dgate == null ? null : dgate.slice(1, from, to), dparameters);
            }
            Tensor wantY = tensors.poisoned("y", DType.F64, c.tokens(), c.width());
            Tensor wantDx = tensors.poisoned("dx", DType.F64, c.tokens(), c.width());
            Tensor wantDgate = c.gated() ? tensors.poisoned("dgate", DType.F64, c.tokens(), c.width()) : null;
            forward(tensors, spec(), DType.F64, exact, wantY);
            backward(tensors, spec(), DType.F64, exact, wantDx, wantDgate,
                    NormCase.copy(tensors, exact.parameters(), DType.F64));
            Terms terms = terms(tensors, c, exact);
            double u = dtype().unitRoundoff();
            forwardTolerance(c.width()).stored(dtype()).compare("y", y, wantY, terms.y(), u).orThrow();
            inputTolerance(c.width()).stored(dtype()).compare("dx", dx, wantDx, terms.dx(), u).orThrow();
            if (c.gated()) {
                forwardTolerance(c.width()).stored(dtype()).compare("dgate", dgate, wantDgate, terms.dgate(), u)
                        .orThrow();
            }
        }
    }

    /** A gate of ones changes no bit, forward or backward. */
    @Property(tries = 40)
    default void aGateOfOnesIsNoGate(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = new NormCase(c.tokens(), c.width(), c.gap(), false, c.residual(), c.values(), c.seed())
                    .inputs(tensors, type(), dtype(), parameterType());
            Tensor ones = c.output(tensors, "gate", dtype());
            ones.fill(1);
            Inputs gated = new Inputs(in.x(), in.parameters(), ones, in.dy(), in.residual());
            Tensor y = c.output(tensors, "y", dtype());
            Tensor gatedY = c.output(tensors, "y", dtype());
            forward(tensors, subject(), statisticsType(), in, y);
            forward(tensors, subject(), statisticsType(), gated, gatedY);
            Tensor dx = c.output(tensors, "dx", dtype());
            Tensor gatedDx = c.output(tensors, "dx", dtype());
            NormParameters unused = NormCase.copy(tensors, in.parameters(), parameterType());
            backward(tensors, subject(), statisticsType(), in, dx, null, unused);
            backward(tensors, subject(), statisticsType(), gated, gatedDx, c.output(tensors, "dgate", dtype()), unused);
            for (long i = 0; i < y.size(); i++) {
                assertThat(gatedY.getFlat(i)).as("y[%d]", i).isEqualTo(y.getFlat(i));
                assertThat(gatedDx.getFlat(i)).as("dx[%d]", i).isEqualTo(dx.getFlat(i));
            }
        }
    }

    /** Both phases in one call give the bits of the two calls. */
    @Property(tries = 40)
    default void onePassIsTheTwo(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype(), parameterType());
            long d = c.width();
            Tensor y = c.output(tensors, "y", dtype());
            Tensor dx = c.output(tensors, "dx", dtype());
            Tensor dgate = c.gated() ? c.output(tensors, "dgate", dtype()) : null;
            NormParameters gradients = NormCase.copy(tensors, in.parameters(), parameterType());
            Tensor statistics = tensors.poisoned("statistics", statisticsType(), c.tokens(), subject().statistics());
            Tensor sums = tensors.poisoned("sums", statisticsType(), c.tokens(), subject().statistics());
            subject().forward(in.x(), statistics, d, in.parameters(), in.gate(), y);
            subject().backward(in.x(), statistics, sums, d, in.parameters(), in.gate(), in.dy(), in.residual(), dx,
                    dgate, gradients);
            Tensor wantStatistics = tensors.poisoned("statistics", statisticsType(), statistics.shape());
            Tensor wantY = tensors.poisoned("y", dtype(), c.tokens(), d);
            Tensor wantDx = tensors.poisoned("dx", dtype(), c.tokens(), d);
            Tensor wantDgate = c.gated() ? tensors.poisoned("dgate", dtype(), c.tokens(), d) : null;
            NormParameters wantGradients = NormCase.copy(tensors, in.parameters(), parameterType());
            subject().partial(in.x(), wantStatistics);
            forward(tensors, subject(), statisticsType(), in, wantY);
            backward(tensors, subject(), statisticsType(), in, wantDx, wantDgate, wantGradients);
            same(statistics, wantStatistics);
            same(y, wantY);
            same(dx, wantDx);
            same(dgate, wantDgate);
            same(gradients.weight(), wantGradients.weight());
            same(gradients.bias(), wantGradients.bias());
        }
    }

    /** The same numbers; both may be null. */
    static void same(Tensor got, Tensor want) {
        for (long i = 0; want != null && i < want.size(); i++) {
            assertThat(got.getFlat(i)).as("%s[%d]", want.name(), i).isEqualTo(want.getFlat(i));
        }
    }

    @Property(tries = 10)
    default void argumentsThatDoNotFitAreNamed(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type(), dtype(), parameterType());
            Tensor statistics = tensors.zeros("statistics", statisticsType(), c.tokens(), subject().statistics());
            Tensor narrow = tensors.zeros("narrow", dtype(), c.tokens(), c.width() + 1);
            assertThatThrownBy(() -> subject().partial(in.x(), tensors.zeros("wide", statisticsType(), c.tokens(), 3)))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("statistics is wide");
            assertThatThrownBy(() -> subject().apply(in.x(), statistics, c.width(), in.parameters(), null, narrow))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("y is narrow");
            assertThatThrownBy(() -> subject().apply(in.x(), statistics, c.width() - 1, in.parameters(), null, in.dy()))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("width is");
            assertThatThrownBy(() -> subject().backwardApply(in.x(), statistics, statistics, c.width(), in.parameters(),
                    in.dy(), in.dy(), null, in.dy(), null, in.parameters()))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("dgate is null");
            NormParameters wrong = type().hasWeight() ? NormParameters.NONE : new NormParameters(in.x(), null);
            assertThatThrownBy(() -> subject().apply(in.x(), statistics, c.width(), wrong, null, in.dy()))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("weight is");
        }
    }

    /** What one rounding to the matrices' type takes from a result: nothing that F32 would notice where it is F32. */
    default double storage() {
        return dtype() == DType.BF16 ? dtype().unitRoundoff() : 0;
    }

    /** y = norm(x), both phases. */
    static void forward(TestTensors tensors, Norm norm, DType statisticsType, Inputs in, Tensor y) {
        Tensor statistics = tensors.poisoned("statistics", statisticsType, in.x().dim(0), norm.statistics());
        norm.partial(in.x(), statistics);
        norm.apply(in.x(), statistics, in.x().dim(1), in.parameters(), in.gate(), y);
    }

    /** All gradients, both phases. */
    static void backward(TestTensors tensors, Norm norm, DType statisticsType, Inputs in, Tensor dx, Tensor dgate,
            NormParameters dparameters) {
        long d = in.x().dim(1);
        Tensor statistics = tensors.poisoned("statistics", statisticsType, in.x().dim(0), norm.statistics());
        Tensor sums = tensors.poisoned("sums", statisticsType, in.x().dim(0), norm.statistics());
        norm.partial(in.x(), statistics);
        norm.backwardPartial(in.x(), statistics, d, in.parameters(), in.gate(), in.dy(), sums);
        norm.backwardApply(in.x(), statistics, sums, d, in.parameters(), in.gate(), in.dy(), in.residual(), dx, dgate,
                dparameters);
    }

    /** Σ|terms| of every result. */
    record Terms(Tensor y, Tensor dx, Tensor dgate, Tensor dweight, Tensor dbias) {
    }

    private Terms terms(TestTensors tensors, NormCase c, Inputs in) {
        long d = c.width();
        Tensor y = tensors.zeros("terms", DType.F64, c.tokens(), d);
        Tensor dx = tensors.zeros("terms", DType.F64, c.tokens(), d);
        Tensor dgate = tensors.zeros("terms", DType.F64, c.tokens(), d);
        Tensor dweight = tensors.zeros("terms", DType.F64, d);
        Tensor dbias = tensors.zeros("terms", DType.F64, d);
        for (long t = 0; t < c.tokens(); t++) {
            double mean = 0;
            double squares = 0;
            for (long j = 0; j < d; j++) {
                mean += type().hasBias() ? in.x().get(t, j) / d : 0;
                squares += in.x().get(t, j) * in.x().get(t, j) / d;
            }
            double epsilon = type() == NormType.SRMSNORM ? SrmsNorm.EPSILON : RmsNorm.EPSILON;
            double r = 1 / Math.sqrt(Math.max(0, squares - mean * mean) + epsilon);
            double[] xHat = new double[(int) d];
            double[] g = new double[(int) d];
            double sum = 0;
            double product = 0;
            for (int j = 0; j < d; j++) {
                // a mean off by an ulp of F64 or two: a millionth of what F32 makes of it
                double noise = type().hasBias() ? 1e-6 * (Math.abs(in.x().get(t, j)) + Math.abs(mean)) * r : 0;
                xHat[j] = Math.abs((in.x().get(t, j) - mean) * r) + noise;
                g[j] = Math.abs(in.dy().get(t, j) * (c.gated() ? in.gate().get(t, j) : 1));
                double w = type().hasWeight() ? Math.abs(in.parameters().weight().get(j)) : 1;
                sum += type().hasBias() ? w * g[j] / d : 0;
                product += xHat[j] * w * g[j] / d;
            }
            for (int j = 0; j < d; j++) {
                double w = type().hasWeight() ? Math.abs(in.parameters().weight().get(j)) : 1;
                double b = type().hasBias() ? Math.abs(in.parameters().bias().get(j)) : 0;
                double norm = w * xHat[j] + b;
                double residual = c.residual() ? Math.abs(in.residual().get(t, j)) : 0;
                y.set(t, j, norm * (c.gated() ? Math.abs(in.gate().get(t, j)) : 1));
                dgate.set(t, j, norm * Math.abs(in.dy().get(t, j)));
                dx.set(t, j, residual + r * (w * g[j] + sum + xHat[j] * product));
                dweight.set(j, dweight.get(j) + xHat[j] * g[j]);
                dbias.set(j, dbias.get(j) + g[j]);
            }
        }
        return new Terms(y, dx, dgate, dweight, dbias);
    }

    /** sum += x, element by element. */
    private static Tensor plus(Tensor sum, Tensor x) {
        for (long i = 0; i < sum.size(); i++) {
            sum.setFlat(i, sum.getFlat(i) + x.getFlat(i));
        }
        return sum;
    }
}
