package org.transnormer.linear;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.Example;
import net.jqwik.api.Group;
import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

@Tag("gpu")
class LinearCudaTest {
    static final Linear TWIN = OnDevice.wrap(Linear.class, LinearCuda::new);

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

        /** By the kernel for few tokens and by the library; rows of any alignment. */
        @Example
        void fewTokensOfWideRowsAreTheSpecs() {
            for (long tokens = 1; tokens <= LinearCuda.FEW + 1; tokens++) {
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
}
