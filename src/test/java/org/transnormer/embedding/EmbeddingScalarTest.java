package org.transnormer.embedding;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.FiniteDifference;
import org.transnormer.verify.Tolerance;

class EmbeddingScalarTest implements EmbeddingContract {
    @Override
    public Embedding subject() {
        return new EmbeddingScalar();
    }

    @Override
    public DType dtype() {
        return DType.F64;
    }

    @Example
    void knownValues() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor table = tensors.zeros("table", DType.F64, 3, 2);
            for (int i = 0; i < 6; i++) {
                table.setFlat(i, i + 1);
            }
            Tensor ids = tensors.zeros("ids", DType.I32, 4);
            int[] tokens = {2, 0, 2, 1};
            for (int t = 0; t < 4; t++) {
                ids.setInt(t, tokens[t]);
            }
            Tensor y = tensors.poisoned("y", DType.F64, 4, 2);
            subject().forward(ids, table, 10, y);
            double[] want = {50, 60, 10, 20, 50, 60, 30, 40};
            Tensor sum = tensors.zeros("sum", DType.F64, 4, 2);
            sum.fill(100);
            subject().add(ids, table, sum);
            for (int i = 0; i < 8; i++) {
                assertThat(sum.getFlat(i)).isEqualTo(100 + want[i] / 10);
            }
            Tensor dtable = tensors.zeros("dtable", DType.F64, 3, 2);
            dtable.fill(1);
            subject().backward(ids, y, 2, 1, dtable);
            double[] wantGradient = {21, 41, 1, 1, 201, 241};
            for (int i = 0; i < 8; i++) {
                assertThat(y.getFlat(i)).isEqualTo(want[i]);
            }
            for (int i = 0; i < 6; i++) {
                assertThat(dtable.getFlat(i)).isEqualTo(wantGradient[i]);
            }
        }
    }

    @Property(tries = 10)
    void gradientIsTheDerivative(@ForAll long seed) {
        try (TestTensors tensors = new TestTensors(seed)) {
            Tensor ids = tensors.zeros("ids", DType.I32, 7);
            for (int t = 0; t < 7; t++) {
                ids.setInt(t, tensors.random().nextInt(4));
            }
            Tensor table = tensors.random("table", DType.F64, Values.NORMAL, 4, 3);
            Tensor weights = tensors.random("dy", DType.F64, Values.NORMAL, 7, 3);
            Tensor y = tensors.poisoned("y", DType.F64, 7, 3);
            Tensor dtable = tensors.zeros("dtable", DType.F64, 4, 3);
            subject().backward(ids, weights, 1.7, Embedding.NO_PADDING, dtable);
            FiniteDifference.check("dtable", () -> {
                subject().forward(ids, table, 1.7, y);
                double sum = 0;
                for (long i = 0; i < y.size(); i++) {
                    sum += y.getFlat(i) * weights.getFlat(i);
                }
                return sum;
            }, table, dtable, tensors.zeros("numeric", DType.F64, 4, 3)).orThrow();
        }
    }

    /** In narrow types: one rounding, of the output only. */
    @Property(tries = 30)
    void roundsOnce(@ForAll("cases") Case c) {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            try (TestTensors tensors = new TestTensors(c.seed())) {
                Tensor ids = tensors.zeros("ids", DType.I32, c.tokens());
                Tensor table = tensors.random("table", dtype, c.values(), c.rows(), c.width());
                Tensor y = tensors.poisoned("y", dtype, c.tokens(), c.width());
                Tensor wantY = tensors.poisoned("y", DType.F64, c.tokens(), c.width());
                subject().forward(ids, table, c.scale(), y);
                subject().forward(ids, table, c.scale(), wantY);
                new Tolerance(1, 1).compare("y", y, wantY, null, dtype.unitRoundoff()).orThrow();
                Tensor dtable = tensors.random("dtable", dtype, c.values(), c.rows(), c.width());
                Tensor want = tensors.copy(dtable, DType.F64);
                subject().backward(ids, y, c.scale(), c.padding(), dtable);
                subject().backward(ids, y, c.scale(), c.padding(), want);
                new Tolerance(1, 1).compare("dtable", dtable, want, null, dtype.unitRoundoff()).orThrow();
            }
        }
    }

    @Example
    void idsOutsideTheTableAreRefused() {
        EmbeddingContract.refusesIdsOutsideTheTable(subject(), dtype());
    }
}
