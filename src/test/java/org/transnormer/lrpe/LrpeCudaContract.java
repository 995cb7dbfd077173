package org.transnormer.lrpe;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** What the CUDA twin of {@link Lrpe} does on top. */
interface LrpeCudaContract extends LrpeContract {

    /** More tokens than the partial sums of dθ have rows. */
    @Property(tries = 5)
    default void manyTokensMatchTheSpecWithTheSameBitsAgain(@ForAll long seed) {
        Case c = new Case(9_000, 3, 20, 0, 4, Values.NORMAL, seed);
        try (Operands o = new Operands(c, dtype(), thetaType())) {
            Tensor dy = o.tensors.random("dy", dtype(), Values.NORMAL, c.tokens(), c.heads(), 2 * c.channels());
            Tensor wantX = o.tensors.zeros("dx", DType.F64, o.x.shape());
            Tensor want = o.tensors.zeros("dtheta", DType.F64, c.heads(), c.channels());
            new LrpeScalar().backward(o.exact(o.x), o.exact(o.theta), o.positions, o.exact(dy), wantX, want);
            Tensor[] dtheta = new Tensor[2];
            for (int i = 0; i < 2; i++) {
                Tensor dx = o.tensors.strided("dx", dtype(), c.gap(), o.x.shape());
                dtheta[i] = o.tensors.zeros("dtheta", thetaType(), c.heads(), c.channels());
                subject().backward(o.x, o.theta, o.positions, dy, dx, dtheta[i]);
                TOLERANCE.stored(dtype()).compare("dx", dx, wantX, magnitudes(o.tensors, dy), dtype().unitRoundoff())
                        .orThrow();
            }
            Tensor terms = o.tensors.zeros("terms", DType.F64, want.shape());
            for (long t = 0; t < c.tokens(); t++) {
                for (long h = 0; h < c.heads(); h++) {
                    for (long j = 0; j < c.channels(); j++) {
                        terms.set(h, j, terms.get(h, j) + o.positions.getInt(t) * Math.abs(o.x.get(t, h, j))
                                * (Math.abs(dy.get(t, h, j)) + Math.abs(dy.get(t, h, c.channels() + j))));
                    }
                }
            }
            TOLERANCE.compare("dtheta", dtheta[0], want, terms, thetaType().unitRoundoff()).orThrow();
            for (long i = 0; i < want.size(); i++) {
                assertThat(dtheta[1].getFlat(i)).isEqualTo(dtheta[0].getFlat(i));
            }
        }
    }

    /** |da| + |db|. */
    private static Tensor magnitudes(TestTensors tensors, Tensor dy) {
        long d = dy.dim(2) / 2;
        Tensor terms = tensors.zeros("terms", DType.F64, dy.dim(0), dy.dim(1), d);
        for (long t = 0; t < dy.dim(0); t++) {
            for (long h = 0; h < dy.dim(1); h++) {
                for (long j = 0; j < d; j++) {
                    terms.set(t, h, j, Math.abs(dy.get(t, h, j)) + Math.abs(dy.get(t, h, d + j)));
                }
            }
        }
        return terms;
    }
}
