package org.transnormer.lrpe;

import static org.assertj.core.api.Assertions.assertThat;

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

/** What every twin of {@link Lrpe} must do, at positions up to millions. SPEC section 3.2. */
interface LrpeContract {
    /**
     * A sine or cosine is good to 1e-7 absolute, 1.7 u, and at most four roundings follow: 6 u of Σ|terms|. The sum of
     * dθ over a few hundred tokens adds roundings that mostly cancel.
     */
    Tolerance TOLERANCE = new Tolerance(6, 3);

    record Case(long tokens, long heads, long channels, int start, long gap, Values values, long seed) {
    }

    Lrpe subject();

    DType dtype();

    /** The type of θ and its gradient. */
    DType thetaType();

    @Provide
    default Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.of(1L, 2L, 15L, 16L, 17L, 33L, 70L), Arbitraries.longs().between(1, 4),
                Arbitraries.of(1L, 3L, 8L, 15L, 16L, 17L, 40L),
                Arbitraries.of(0, 1, 255, 131_072, 1_000_000, 4_000_000),
                Arbitraries.longs().between(0, 2), Arbitraries.of(Values.class), Arbitraries.longs()).as(Case::new);
    }

    @Property(tries = 60)
    default void forwardMatchesTheSpec(@ForAll("cases") Case c) {
        try (Operands o = new Operands(c, dtype(), thetaType())) {
            Tensor want = o.tensors.zeros("y", DType.F64, c.tokens(), c.heads(), 2 * c.channels());
            new LrpeScalar().forward(o.exact(o.x), o.exact(o.theta), o.positions, want);
            Tensor y = o.tensors.strided("y", dtype(), c.gap(), want.shape());
            subject().forward(o.x, o.theta, o.positions, y);
            Tensor terms = o.tensors.zeros("terms", DType.F64, want.shape());
            for (long i = 0; i < terms.size(); i++) {
                long row = i / (2 * c.channels());
                terms.setFlat(i, Math.abs(o.x.getFlat(row * c.channels() + i % c.channels())));
            }
            TOLERANCE.stored(dtype()).compare("y", y, want, terms, dtype().unitRoundoff()).orThrow();
        }
    }

    @Property(tries = 60)
    default void backwardMatchesTheSpec(@ForAll("cases") Case c) {
        try (Operands o = new Operands(c, dtype(), thetaType())) {
            Tensor dy = o.tensors.fill(o.tensors.strided("dy", dtype(), c.gap(), c.tokens(), c.heads(),
                    2 * c.channels()), Values.NORMAL);
            Tensor before = o.tensors.random("dtheta", thetaType(), Values.NORMAL, c.heads(), c.channels());
            Tensor wantX = o.tensors.zeros("dx", DType.F64, o.x.shape());
            Tensor wantTheta = o.exact(before);
            new LrpeScalar().backward(o.exact(o.x), o.exact(o.theta), o.positions, o.exact(dy), wantX, wantTheta);
            Tensor dx = o.tensors.strided("dx", dtype(), c.gap(), o.x.shape());
            Tensor dtheta = o.tensors.copy(before, thetaType());
            subject().backward(o.x, o.theta, o.positions, dy, dx, dtheta);
            Tensor termsX = o.tensors.zeros("terms", DType.F64, o.x.shape());
            Tensor termsTheta = o.tensors.magnitude(before);
            for (long t = 0; t < c.tokens(); t++) {
                for (long h = 0; h < c.heads(); h++) {
                    for (long j = 0; j < c.channels(); j++) {
                        double sizes = Math.abs(dy.get(t, h, j)) + Math.abs(dy.get(t, h, c.channels() + j));
                        termsX.set(t, h, j, sizes);
                        termsTheta.set(h, j, termsTheta.get(h, j)
                                + o.positions.getInt(t) * Math.abs(o.x.get(t, h, j)) * sizes);
                    }
                }
            }
            TOLERANCE.stored(dtype()).compare("dx", dx, wantX, termsX, dtype().unitRoundoff()).orThrow();
            TOLERANCE.stored(thetaType()).compare("dtheta", dtheta, wantTheta, termsTheta, thetaType().unitRoundoff())
                    .orThrow();
        }
    }

    /** ⟨LRPE(x)_t, LRPE(x')_s⟩ is the same for (t, s) and (t + n, s + n). */
    @Property(tries = 30)
    default void productsDependOnTheDistanceOnly(@ForAll("cases") Case c) {
        try (Operands o = new Operands(new Case(2, c.heads(), c.channels(), c.start() % 2_000, 0, Values.NORMAL,
                c.seed()), dtype(), thetaType())) {
            Tensor here = o.tensors.zeros("here", dtype(), 2, c.heads(), 2 * c.channels());
            Tensor there = o.tensors.zeros("there", dtype(), here.shape());
            subject().forward(o.x, o.theta, o.positions, here);
            o.positions.setInt(0, o.positions.getInt(0) + 1234);
            o.positions.setInt(1, o.positions.getInt(1) + 1234);
            subject().forward(o.x, o.theta, o.positions, there);
            for (long h = 0; h < c.heads(); h++) {
                double sizes = 0;
                for (long j = 0; j < c.channels(); j++) {
                    sizes += Math.abs(o.x.get(0, h, j) * o.x.get(1, h, j));
                }
                assertThat(Math.abs(product(here, h) - product(there, h)))
                        .isLessThanOrEqualTo(16 * dtype().unitRoundoff() * sizes);
            }
        }
    }

    @Property(tries = 20)
    default void aZeroRateLeavesTheChannelInTheCosineHalf(@ForAll("cases") Case c) {
        try (Operands o = new Operands(c, dtype(), thetaType())) {
            o.theta.fill(0);
            Tensor y = o.tensors.poisoned("y", dtype(), c.tokens(), c.heads(), 2 * c.channels());
            subject().forward(o.x, o.theta, o.positions, y);
            for (long t = 0; t < c.tokens(); t++) {
                for (long h = 0; h < c.heads(); h++) {
                    for (long j = 0; j < c.channels(); j++) {
                        assertThat(y.get(t, h, j)).isEqualTo(o.x.get(t, h, j));
                        assertThat(y.get(t, h, c.channels() + j)).isZero();
                    }
                }
            }
        }
    }

    private static double product(Tensor y, long h) {
        double sum = 0;
        for (long j = 0; j < y.dim(2); j++) {
            sum += y.get(0, h, j) * y.get(1, h, j);
        }
        return sum;
    }

    /** x (T, H, d), θ (H, d) as a model starts with it, and positions from {@code start}. */
    final class Operands implements AutoCloseable {
        final TestTensors tensors;
        final Tensor x;
        final Tensor theta;
        final Tensor positions;

        Operands(Case c, DType dtype, DType thetaType) {
            tensors = new TestTensors(c.seed());
            x = tensors.fill(tensors.strided("x", dtype, c.gap(), c.tokens(), c.heads(), c.channels()), c.values());
            theta = tensors.zeros("theta", thetaType, c.heads(), c.channels());
            for (long i = 0; i < theta.size(); i++) {
                theta.setFlat(i, Math.pow(10_000, -2.0 * i / theta.size()) * (1 - 0.1 * tensors.random().nextDouble()));
            }
            positions = tensors.zeros("positions", DType.I32, c.tokens());
            for (long t = 0; t < c.tokens(); t++) {
                positions.setInt(t, c.start() + (int) t);
            }
        }

        Tensor exact(Tensor t) {
            return tensors.copy(t, DType.F64);
        }

        @Override
        public void close() {
            tensors.close();
        }
    }
}
