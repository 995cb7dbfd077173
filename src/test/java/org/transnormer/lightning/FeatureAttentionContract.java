package org.transnormer.lightning;

import java.util.ArrayList;
import java.util.List;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.activation.ActivationScalar;
import org.transnormer.lrpe.LrpeScalar;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.verify.Tolerance;

/** What every twin of {@link FeatureAttention} keeps: it is the composition of its parts. SPEC section 4.1. */
interface FeatureAttentionContract {

    FeatureAttention subject();

    /** The type of q, k, v that the subject is tested in. */
    DType dtype();

    /** Factors on u Σ|terms|. */
    Tolerance tolerance(FeatureCall.Case shape);

    @Provide
    default Arbitrary<FeatureCall.Case> calls() {
        return FeatureCall.Case.any();
    }

    @Property(tries = 60)
    default void isTheCompositionOfItsParts(@ForAll("calls") FeatureCall.Case shape) {
        try (FeatureCall call = FeatureCall.of(shape, dtype()); FeatureCall want = call.exact();
                FeatureCall terms = call.exact()) {
            compose(want, dtype(), false);
            compose(terms, dtype(), true);
            call.run(subject());
            for (int i = 0; i < call.outputs().size(); i++) {
                Tensor got = call.outputs().get(i);
                tolerance(shape).compare(shape.f() + " " + got.name(), got, want.outputs().get(i),
                        named(call, terms.outputs().get(i)), dtype().unitRoundoff()).orThrow();
            }
        }
    }

    /** Sequences packed into one buffer are as each alone. */
    @Property(tries = 20)
    default void packedIsAsAlone(@ForAll("calls") FeatureCall.Case shape) {
        try (FeatureCall call = FeatureCall.of(shape, dtype()); FeatureCall alone = FeatureCall.of(shape, dtype())) {
            call.run(subject());
            for (int n = 0; n < alone.sequences.count(); n++) {
                long from = alone.sequences.offset(n);
                long to = alone.sequences.offset(n + 1);
                Sequences one = Sequences.allocate(alone.tensors.memory(), 1, to - from);
                one.add(to - from, shape.start(), alone.sequences.slot(n));
                Tensor mask = alone.mask == null ? null : alone.mask.slice(0, from, to);
                subject().forward(alone.q.slice(0, from, to), alone.k.slice(0, from, to), alone.v.slice(0, from, to),
                        shape.f(), alone.theta, alone.rates, one, mask, alone.initial, alone.o.slice(0, from, to),
                        alone.last);
                subject().backward(alone.q.slice(0, from, to), alone.k.slice(0, from, to), alone.v.slice(0, from, to),
                        shape.f(), alone.theta, alone.rates, one, mask, alone.initial, alone.dout.slice(0, from, to),
                        alone.dlast, alone.dq.slice(0, from, to), alone.dk.slice(0, from, to),
                        alone.dv.slice(0, from, to), alone.dtheta, alone.dinitial);
            }
            for (int i = 0; i < call.outputs().size(); i++) {
                Tensor got = alone.outputs().get(i);
                if (got != alone.dtheta) {
                    LightningCall.assertSameBits(got, call.outputs().get(i));
                }
            }
        }
    }

    /**
     * The outputs of a call by the scalar parts in F64, or Σ|terms| of them: what features and gradients are made of,
     * without signs. A factor that is good to F32 counts with an error of F32 where it vanishes.
     *
     * @param dtype that the subject computes in
     */
    static void compose(FeatureCall call, DType dtype, boolean terms) {
        FeatureCall.Case shape = call.shape;
        TestTensors tensors = call.tensors;
        double small = DType.F32.unitRoundoff() / dtype.unitRoundoff();
        Tensor[] activated = new Tensor[2];
        Tensor[] features = new Tensor[2];
        for (int i = 0; i < 2; i++) {
            Tensor x = i == 0 ? call.q : call.k;
            activated[i] = tensors.zeros("activated", DType.F64, x.shape());
            new ActivationScalar().forward(shape.f(), x, activated[i]);
            for (long j = 0; terms && j < x.size(); j++) {
                activated[i].setFlat(j, Math.abs(activated[i].getFlat(j)) + small * scale(shape.f(), x.getFlat(j)));
            }
            features[i] = activated[i];
            if (shape.lrpe()) {
                features[i] = tensors.zeros("doubled", DType.F64, shape.tokens(), shape.heads(), 2L * shape.d());
                if (terms) {
                    features[i].slice(2, 0, shape.d()).copyFrom(activated[i]);
                    features[i].slice(2, shape.d(), 2L * shape.d()).copyFrom(activated[i]);
                } else {
                    new LrpeScalar().forward(activated[i], call.theta, call.sequences.positions(), features[i]);
                }
            }
        }
        for (Tensor x : new Tensor[] {call.v, call.dout, call.initial, call.dlast, call.dtheta}) {
            for (long j = 0; terms && x != null && j < x.size(); j++) {
                x.setFlat(j, Math.abs(x.getFlat(j)));
            }
        }
        Tensor[] gradients = {tensors.zeros("dfeatures", DType.F64, features[0].shape()),
            tensors.zeros("dfeatures", DType.F64, features[1].shape())};
        LightningAttention attention = new LightningRecurrent();
        attention.forward(features[0], features[1], call.v, call.rates, call.sequences, call.mask, call.initial, call.o,
                call.last);
        attention.backward(features[0], features[1], call.v, call.rates, call.sequences, call.mask, call.initial,
                call.dout, call.dlast, gradients[0], gradients[1], call.dv, call.dinitial);
        for (int i = 0; i < 2; i++) {
            Tensor dx = i == 0 ? call.dq : call.dk;
            if (shape.lrpe() && !terms) {
                new LrpeScalar().backward(activated[i], call.theta, call.sequences.positions(), gradients[i], dx,
                        call.dtheta);
            } else if (shape.lrpe()) {
                lrpeTerms(call, activated[i], gradients[i], dx);
            } else {
                dx.copyFrom(gradients[i]);
            }
            Tensor x = i == 0 ? call.q : call.k;
            Tensor slope = tensors.zeros("slope", DType.F64, x.shape());
            slope.fill(1);
            new ActivationScalar().backward(shape.f(), x, slope, slope);
            for (long j = 0; j < x.size(); j++) {
                double s = terms ? Math.abs(slope.getFlat(j)) + small * (1 + Math.abs(x.getFlat(j))) : slope.getFlat(j);
                dx.setFlat(j, s * dx.getFlat(j));
            }
        }
    }

    /** Of what size the numbers are that f(x) is made of. */
    private static double scale(ActivationFunction f, double x) {
        return switch (f) {
            case IDENTITY, RELU, LEAK -> 0;
            default -> Math.min(1, Math.abs(x));
        };
    }

    private static void lrpeTerms(FeatureCall call, Tensor activated, Tensor gradient, Tensor dx) {
        int d = call.shape.d();
        for (long t = 0; t < dx.dim(0); t++) {
            int p = call.sequences.positions().getInt(t);
            for (long h = 0; h < dx.dim(1); h++) {
                for (int j = 0; j < d; j++) {
                    double sum = gradient.get(t, h, j) + gradient.get(t, h, d + j);
                    dx.set(t, h, j, sum);
                    call.dtheta.set(h, j, call.dtheta.get(h, j) + p * activated.get(t, h, j) * sum);
                }
            }
        }
    }

    /** The terms, 0 in states that no sequence names. */
    static Tensor named(FeatureCall call, Tensor terms) {
        List<Long> poison = new ArrayList<>();
        for (long i = 0; i < terms.size(); i++) {
            if (Double.isNaN(terms.getFlat(i))) {
                poison.add(i);
            }
        }
        Tensor clean = call.tensors.copy(terms, DType.F64);
        poison.forEach(i -> clean.setFlat(i, 0));
        return clean;
    }
}
