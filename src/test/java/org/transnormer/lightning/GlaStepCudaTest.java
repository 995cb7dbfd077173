package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.reflect.Proxy;
import java.util.Collections;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.Tag;
import org.transnormer.activation.ActivationCuda;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.ExactMemory;
import org.transnormer.cuda.Gpu;
import org.transnormer.linear.Linear;
import org.transnormer.linear.LinearCuda;
import org.transnormer.linear.NormedProjection;
import org.transnormer.lrpe.LrpeCuda;
import org.transnormer.parallel.Communicator;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.srmsnorm.NormParameters;
import org.transnormer.srmsnorm.SrmsNormCuda;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** The projection has the bits that it has by itself, and what follows from these bits is what the spec makes of them. */
@Tag("gpu")
class GlaStepCudaTest {
    private static final FeatureAttention TWIN = OnDevice.wrap(FeatureAttention.class, GlaStepCudaTest::attention);
    private static final Linear LINEAR = OnDevice.wrap(Linear.class, LinearCuda::new);
    private static Linear inside;
    /** Of what the twin gets, which is on the device already. */
    private static final Linear ON_DEVICE = (Linear) Proxy.newProxyInstance(
            Linear.class.getClassLoader(), new Class<?>[] {Linear.class},
            (_, method, arguments) -> method.invoke(inside, arguments));

    private static FeatureAttention attention(Gpu gpu, Workspace workspace) {
        inside = new LinearCuda(gpu, workspace);
        return new FeatureAttentionCuda(gpu, new LightningCuda(gpu, workspace), new ActivationCuda(gpu),
                new LrpeCuda(gpu, workspace), new ExactMemory(gpu.stream()));
    }

    /** A call of 1 to 3 sequences of one token, and the projection's width. */
    record Case(FeatureCall.Case call, long in, boolean bias) {
    }

    @Provide
    Arbitrary<Case> cases() {
        Arbitrary<Integer> width = Arbitraries.of(1, 3, 8, 16, 17, 33, 64, 65, 128, 130);
        Arbitrary<FeatureCall.Case> calls = Combinators.combine(Arbitraries.longs(),
                Arbitraries.integers().between(1, 3), width, width, Arbitraries.integers().between(1, 3),
                Arbitraries.of(0, 5, 100_000), Arbitraries.of(ActivationFunction.class),
                Arbitraries.integers().between(0, 7))
                .as((seed, heads, d, dv, tokens, start, f, flags) -> new FeatureCall.Case(seed, heads, d, dv,
                        Collections.nCopies(tokens, 1), start, f,
                        (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0));
        return Combinators.combine(calls, Arbitraries.of(1L, 7L, 64L, 255L, 264L, 513L), Arbitraries.of(true, false))
                .as(Case::new);
    }

    /** As of the parts: {@link FeatureAttentionCudaTest}. */
    @Property(tries = 80)
    void inF32(@ForAll("cases") Case shape) {
        check(shape, DType.F32, new Tolerance(32, 16));
    }

    @Property(tries = 80)
    void inBf16(@ForAll("cases") Case shape) {
        check(shape, DType.BF16, shape.call().lrpe() ? new Tolerance(9.5, 4.75) : new Tolerance(6.5, 3.25));
    }

    /** The most channels that there are, and more tiles than blocks. */
    @Example
    void manyTilesOfWideHeads() {
        for (boolean lrpe : List.of(false, true)) {
            var call = new FeatureCall.Case(3, 2, lrpe ? 256 : 512, 512, List.of(1, 1), 9, ActivationFunction.SILU,
                    lrpe, false, true);
            check(new Case(call, 64, false), DType.BF16, lrpe ? new Tolerance(9.5, 4.75) : new Tolerance(6.5, 3.25));
        }
    }

    /** With λ rounded to F32 the last would be off by 120 times 2^-25. */
    @Example
    void manyStepsDecayByTheirRate() {
        int steps = 120;
        var shape = new FeatureCall.Case(1, 1, 16, 16, List.of(1), 0, ActivationFunction.IDENTITY, false, false, true);
        try (FeatureCall call = FeatureCall.of(shape, DType.F32)) {
            call.rates.set(0, 0.1f);
            Tensor states = call.initial;
            Tensor before = call.tensors.copy(states, DType.F64);
            Tensor x = call.tensors.zeros("x", DType.F32, 1, 8);
            Tensor w = call.tensors.random("w", DType.F32, Values.NORMAL, call.qkv.dim(1), 8);
            Tensor statistics = call.tensors.poisoned("statistics", DType.F32, 1, 1);
            for (int i = 0; i < steps; i++) {
                TWIN.projected(new NormedProjection(ON_DEVICE, norm(8), x, statistics, x, w, null, call.qkv), call.q,
                        call.k, call.v, shape.f(), null, call.rates, call.sequences, null, states, call.o, states);
            }
            double power = Math.exp(-(double) 0.1f * steps);
            long slot = call.sequences.slot(0);
            for (int i = 0; i < 16; i++) {
                double want = before.get(slot, 0, i, i) * power;
                assertThat(states.get(slot, 0, i, i)).isCloseTo(want, within(1.5e-6 * Math.abs(want)));
            }
        }
    }

    private static void check(Case shape, DType dtype, Tolerance tolerance) {
        try (FeatureCall call = FeatureCall.of(shape.call(), dtype)) {
            long outputs = call.qkv.dim(1);
            Tensor x = call.tensors.fill(call.tensors.strided("x", dtype, 8, shape.call().tokens(), shape.in()),
                    Values.NORMAL);
            Tensor w = call.tensors.random("w", dtype, Values.NORMAL, outputs, shape.in());
            for (long i = 0; i < w.size(); i++) {
                w.setFlat(i, w.getFlat(i) / Math.sqrt(shape.in()));
            }
            Tensor b = shape.bias() ? call.tensors.random("b", DType.F32, Values.NORMAL, outputs) : null;
            Tensor statistics = call.tensors.poisoned("statistics", DType.F32, x.dim(0), 1);
            Tensor normed = call.tensors.poisoned("normed", dtype, x.dim(0), shape.in());
            NormLayer norm = norm(shape.in());
            Tensor want = call.tensors.poisoned("qkv", dtype, x.dim(0), outputs);
            LINEAR.normed(norm, x, statistics, null, normed, w, b, null, want);
            call.qkv.fill(Double.NaN);
            TWIN.projected(new NormedProjection(ON_DEVICE, norm, x, statistics, normed, w, b, call.qkv), call.q,
                    call.k, call.v, shape.call().f(), call.theta, call.rates, call.sequences, call.mask, call.initial,
                    call.o, call.last);
            LightningCall.assertSameBits(call.qkv, want);
            try (FeatureCall exact = call.exact(); FeatureCall terms = call.exact()) {
                FeatureAttentionContract.compose(exact, dtype, false);
                FeatureAttentionContract.compose(terms, dtype, true);
                compare(call.o, exact.o, terms.o, tolerance, dtype);
                if (call.last != null) {
                    compare(call.last, exact.last, FeatureAttentionContract.named(call, terms.last), tolerance, dtype);
                }
            }
        }
    }

    private static NormLayer norm(long width) {
        return new NormLayer(new SrmsNormCuda(OnDevice.gpu()), Communicator.single(), width, NormParameters.NONE,
                NormParameters.NONE);
    }

    private static void compare(Tensor got, Tensor want, Tensor terms, Tolerance tolerance, DType dtype) {
        tolerance.compare(got.name(), got, want, terms, dtype.unitRoundoff()).orThrow();
    }
}
