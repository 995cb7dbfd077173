package org.transnormer.embedding;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.EnumSet;
import java.util.Set;
import net.jqwik.api.Example;
import net.jqwik.api.Group;
import net.jqwik.api.Tag;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

@Tag("gpu")
class EmbeddingCudaTest {
    static final Embedding TWIN = OnDevice.wrap(Embedding.class, EmbeddingCuda::new);

    @Group
    class F32 implements EmbeddingContract {
        @Override
        public Embedding subject() {
            return TWIN;
        }

        @Override
        public DType dtype() {
            return DType.F32;
        }

        @Override
        public Set<DType> tables() {
            return EnumSet.of(DType.F32);
        }
    }

    @Group
    class Bf16 implements EmbeddingContract {
        @Override
        public Embedding subject() {
            return TWIN;
        }

        @Override
        public DType dtype() {
            return DType.BF16;
        }
    }

    /** Each token at most 64 times: the vector twin's bits. */
    @Example
    void rareTokensGiveTheVectorTwinsBits() {
        try (TestTensors tensors = new TestTensors(1); Workers workers = new Workers(2)) {
            Tensor ids = tensors.zeros("ids", DType.I32, 5000);
            for (int t = 0; t < 5000; t++) {
                ids.setInt(t, t < 64 ? 7 : 8 + tensors.random().nextInt(1000));
            }
            Tensor dy = tensors.random("dy", DType.F32, Values.NORMAL, 5000, 130);
            Tensor dtable = tensors.random("dtable", DType.F32, Values.NORMAL, 1100, 130);
            Tensor want = tensors.copy(dtable, DType.F32);
            new EmbeddingVector(workers).backward(ids, dy, 11.3, 9, want);
            TWIN.backward(ids, dy, 11.3, 9, dtable);
            assertThat(dtable.segment().mismatch(want.segment())).isEqualTo(-1);
        }
    }

    /**
     * Tokens as frequent as in a language, one of them half of all, more than one bitmap of them: within the bound, and the
     * same bits every time.
     */
    @Example
    void frequentTokensAreSummedInAFixedOrder() {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            for (int tokens : new int[] {9000, 300_000}) {
                checkFrequent(dtype, tokens, tokens == 9000 ? 67 : 3);
            }
        }
    }

    private static void checkFrequent(DType dtype, int tokens, int width) {
        try (TestTensors tensors = new TestTensors(2)) {
            Tensor ids = tensors.zeros("ids", DType.I32, tokens);
            int[] count = new int[64_000];
            int fullest = 0;
            for (int t = 0; t < tokens; t++) {
                int id = tensors.random().nextInt(2) == 0 ? 63_999
                        : (int) (64_000 * Math.pow(tensors.random().nextDouble(), 9));
                ids.setInt(t, id);
                fullest = Math.max(fullest, ++count[id]);
            }
            Tensor dy = tensors.random("dy", dtype, Values.NORMAL, tokens, width);
            Tensor dtable = tensors.zeros("dtable", DType.F32, 64_000, width);
            Tensor want = tensors.zeros("want", DType.F64, 64_000, width);
            Tensor terms = tensors.zeros("terms", DType.F64, 64_000, width);
            new EmbeddingScalar().backward(ids, dy, 0.7, 1, want);
            new EmbeddingScalar().backward(ids, tensors.magnitude(dy), 0.7, 1, terms);
            TWIN.backward(ids, dy, 0.7, 1, dtable);
            new Tolerance(fullest + 2, fullest / 4.0 + 2).compare("dtable", dtable, want, terms,
                    DType.F32.unitRoundoff()).orThrow();
            for (int run = 0; run < 5; run++) {
                Tensor again = tensors.zeros("again", DType.F32, 64_000, width);
                TWIN.backward(ids, dy, 0.7, 1, again);
                assertThat(again.segment().mismatch(dtable.segment())).isEqualTo(-1);
            }
        }
    }
}
