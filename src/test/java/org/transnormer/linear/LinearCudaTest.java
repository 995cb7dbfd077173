package org.transnormer.linear;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Assume;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Group;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.Tag;
import net.jqwik.api.constraints.LongRange;
import org.transnormer.parallel.Communicator;
import org.transnormer.product.Product;
import org.transnormer.product.ProductCuda;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.srmsnorm.NormParameters;
import org.transnormer.srmsnorm.SrmsNorm;
import org.transnormer.srmsnorm.SrmsNormCuda;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

@Tag("gpu")
class LinearCudaTest {
    static final Linear TWIN = OnDevice.wrap(Linear.class, LinearCuda::new);
    static final SrmsNorm NORM = OnDevice.wrap(SrmsNorm.class, SrmsNormCuda::new);
    static final Product PRODUCT = OnDevice.wrap(Product.class, ProductCuda::new);

    @Group
    class F32 implements LinearContract {
        @Override
        public Linear subject() {
            return TWIN;
        }

        @Override
        public DType activations() {
            return DType.F32;
        }

        @Override
        public DType weights() {
            return DType.F32;
        }
    }

    @Group
    class Bf16 implements LinearContract {
        @Override
        public Linear subject() {
            return TWIN;
        }

        @Override
        public DType activations() {
            return DType.BF16;
        }

        @Override
        public DType weights() {
            return DType.BF16;
        }

        /** Tensor cores take 16 terms at a time. */
        @Override
        public double chopped() {
            return 1.0 / 16;
        }

        /** In pieces of 1,024 tokens. */
        @Example
        void biasAndResidualOfManyTokensAreTheSpecs() {
            forwardIsTheSpecs(new LinearCase(2500, 33, 17, 8, true, true, Values.NORMAL, 1));
        }

        /** By the kernel for few tokens and by the library; rows of any alignment. */
        @Example
        void fewTokensOfWideRowsAreTheSpecs() {
            for (long tokens = 1; tokens <= LinearCudaFew.TOKENS + 1; tokens++) {
                for (long out : new long[] {33, 1025, 2056, 16_385}) {
                    long in = out < 2000 ? 1 << 13 : out == 2056 ? 1024 : 257;
                    forwardOfFewTokensIsTheSpecs(
                            new LinearCase(tokens, in, out, out % 2 == 0 ? 8 : 5, out > 3000 && tokens == 1,
                                    tokens == 2, Values.NORMAL, tokens));
                }
            }
        }
    }

    /** Long sums, which the library may split: the same bits every time. */
    @Example
    void bitsAreRepeatable() {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            try (TestTensors t = new TestTensors(1)) {
                Tensor x = t.random("x", dtype, Values.NORMAL, 1 << 14, 128);
                Tensor dy = t.random("dy", dtype, Values.NORMAL, 1 << 14, 64);
                Tensor w = t.random("w", dtype, Values.NORMAL, 64, 128);
                Tensor b = t.random("b", DType.F32, Values.NORMAL, 64);
                Tensor[] first = null;
                for (int run = 0; run < 5; run++) {
                    Tensor dw = t.poisoned("dw", DType.F32, 64, 128);
                    Tensor db = t.poisoned("db", DType.F32, 64);
                    Tensor y = t.poisoned("y", dtype, 1 << 14, 64);
                    Tensor biased = t.poisoned("biased", dtype, 1 << 14, 64);
                    Tensor few = t.poisoned("few", dtype, 2, 64);
                    TWIN.backwardWeight(x, dy, dw, db, false);
                    TWIN.forward(x, w, null, dy, y);
                    TWIN.forward(x, w, b, dy, biased);
                    TWIN.forward(x.slice(0, 0, 2), w, null, null, few);
                    Tensor[] got = {dw, db, y, biased, few};
                    for (int i = 0; first != null && i < got.length; i++) {
                        LinearContract.same(got[i].name(), got[i], first[i]);
                    }
                    first = got;
                }
                assertThat(first).isNotNull();
            }
        }
    }

    /** What the model calls for inference: the bits that the parts make one after the other. */
    @Property(tries = 60)
    void whatANormOrAProductMakesIsReadAsItIsMade(@ForAll @LongRange(min = 1, max = 3) long tokens,
            @ForAll("widths") long in, @ForAll("widths") long out, @ForAll DType dtype, @ForAll boolean gated,
            @ForAll boolean added, @ForAll Values values, @ForAll long seed) {
        Assume.that(dtype == DType.F32 || dtype == DType.BF16);
        try (TestTensors t = new TestTensors(seed)) {
            long gap = in % 3 == 0 ? 5 : 8;
            Tensor x = t.fill(t.strided("x", dtype, gap, tokens, in), values);
            Tensor other = t.fill(t.strided("other", dtype, 3 * gap, tokens, in), values);
            Tensor w = t.fill(t.strided("w", dtype, in % 2 * gap, out, in), values);
            Tensor b = added ? t.random("b", DType.F32, values, out) : null;
            Tensor residual = added ? t.random("residual", dtype, values, tokens, out) : null;
            Tensor statistics = t.poisoned("statistics", DType.F32, tokens, 1);
            Tensor made = t.poisoned("made", dtype, tokens, in);
            Tensor want = t.strided("want", dtype, gap, tokens, out);
            Tensor got = t.strided("got", dtype, gap, tokens, out);
            // Rows of many ranks' channels: the width is not the number of columns.
            NormLayer norm = norm(in + 1);
            Tensor gate = gated ? other : null;
            NORM.forward(x, statistics, in + 1, NormParameters.NONE, gate, made);
            TWIN.forward(made, w, b, residual, want);
            TWIN.normed(norm, x, t.poisoned("unused", DType.F32, tokens, 1), gate,
                    t.poisoned("normed", dtype, tokens, in), w, b, residual, got);
            LinearContract.same("normed", got, want);
            PRODUCT.forward(x, other, made);
            TWIN.forward(made, w, b, residual, want);
            TWIN.product(new ProductCuda(OnDevice.gpu()), x, other, t.poisoned("product", dtype, tokens, in), w, b,
                    residual, got);
            LinearContract.same("product", got, want);
        }
    }

    private static NormLayer norm(long width) {
        return new NormLayer(new SrmsNormCuda(OnDevice.gpu()), Communicator.single(), width, NormParameters.NONE,
                NormParameters.NONE);
    }

    /** Around chunks of 256 and 128 columns, and what a norm's threads hold. */
    @Provide
    Arbitrary<Long> widths() {
        return Arbitraries.of(1L, 7L, 8L, 64L, 127L, 255L, 256L, 257L, 264L, 511L, 513L, 1000L, 1025L, 2049L, 4097L);
    }

    /** Rows too wide for one kernel: the parts, one after the other. */
    @Example
    void wideRowsAreLeftToTheParts() {
        try (TestTensors t = new TestTensors(1)) {
            long in = (1 << 13) + 8;
            Tensor x = t.random("x", DType.BF16, Values.NORMAL, 1, in);
            Tensor w = t.random("w", DType.BF16, Values.NORMAL, 3, in);
            Tensor statistics = t.poisoned("statistics", DType.F32, 1, 1);
            Tensor made = t.poisoned("made", DType.BF16, 1, in);
            Tensor want = t.poisoned("want", DType.BF16, 1, 3);
            Tensor got = t.poisoned("got", DType.BF16, 1, 3);
            NORM.forward(x, statistics, in, NormParameters.NONE, null, made);
            TWIN.forward(made, w, null, null, want);
            TWIN.normed(norm(in), x, statistics, null, made, w, null, null, got);
            LinearContract.same("y", got, want);
        }
    }
}
