package org.transnormer.embedding;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

class EmbeddingVectorTest implements EmbeddingContract {
    private static final Workers[] WORKERS = {new Workers(1), new Workers(2), new Workers(3)};

    @Override
    public Embedding subject() {
        return new EmbeddingVector(WORKERS[1]);
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    @Property(tries = 30)
    void threadsDoNotMatter(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor ids = tensors.zeros("ids", DType.I32, c.tokens());
            for (int t = 0; t < c.tokens(); t++) {
                ids.setInt(t, tensors.random().nextInt(c.rows()));
            }
            Tensor table = tensors.random("table", DType.F32, c.values(), c.rows(), c.width());
            Tensor[] y = new Tensor[3];
            Tensor[] dtable = new Tensor[3];
            for (int i = 0; i < 3; i++) {
                Embedding twin = new EmbeddingVector(WORKERS[i]);
                y[i] = tensors.poisoned("y", DType.F32, c.tokens(), c.width());
                dtable[i] = tensors.copy(table, DType.F32);
                twin.forward(ids, table, c.scale(), y[i]);
                twin.add(ids, table, y[i]);
                twin.backward(ids, y[i], c.scale(), c.padding(), dtable[i]);
                assertThat(y[i].segment().mismatch(y[0].segment())).isEqualTo(-1);
                assertThat(dtable[i].segment().mismatch(dtable[0].segment())).isEqualTo(-1);
            }
        }
    }

    @Example
    void otherTypesAreRefused() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor ids = tensors.zeros("ids", DType.I32, 3);
            Tensor table = tensors.zeros("table", DType.F32, 5, 4);
            Tensor narrow = tensors.zeros("y", DType.BF16, 3, 4);
            assertThatThrownBy(() -> subject().forward(ids, table, 1, narrow))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("y BF16 [3, 4]");
            assertThatThrownBy(() -> subject().add(ids, table, narrow)).hasMessageContaining("y BF16 [3, 4]");
            assertThatThrownBy(() -> subject().backward(ids, narrow, 1, 0, table))
                    .hasMessageContaining("y BF16 [3, 4]");
        }
    }

    @Example
    void idsOutsideTheTableAreRefused() {
        EmbeddingContract.refusesIdsOutsideTheTable(subject(), dtype());
    }
}
