package org.transnormer.embedding;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** Tables of which a rank has some rows: bit for bit the whole's. SPEC section 7.2. */
class EmbeddingPartsTest {
    private static final Workers WORKERS = new Workers(2);

    @Property(tries = 40)
    void partsAreTheirRowsOfTheWhole(@ForAll long seed, @ForAll @IntRange(min = 1, max = 20) int tokens,
            @ForAll @IntRange(min = 1, max = 4) int ranks, @ForAll @IntRange(min = 1, max = 3) int rows,
            @ForAll @IntRange(min = 1, max = 40) int width, @ForAll @IntRange(min = -1, max = 3) int padding) {
        for (Embedding twin : List.of(new EmbeddingScalar(), new EmbeddingVector(WORKERS))) {
            try (TestTensors tensors = new TestTensors(seed)) {
                int all = ranks * rows;
                Tensor ids = tensors.zeros("ids", DType.I32, tokens);
                for (int t = 0; t < tokens; t++) {
                    ids.setInt(t, tensors.random().nextInt(all));
                }
                Tensor table = tensors.random("table", DType.F32, Values.NORMAL, all, width);
                Tensor dy = tensors.random("dy", DType.F32, Values.NORMAL, tokens, width);
                Tensor y = tensors.poisoned("y", DType.F32, tokens, width);
                Tensor dtable = tensors.zeros("dtable", DType.F32, all, width);
                twin.forward(ids, table, 3, y);
                twin.backward(ids, dy, 3, padding, dtable);
                for (int r = 0; r < ranks; r++) {
                    long first = (long) r * rows;
                    Tensor part = tensors.strided("part", DType.F32, 2, tokens, width);
                    Tensor dpart = tensors.zeros("dpart", DType.F32, rows, width);
                    twin.forwardPart(ids, first, table.slice(0, first, first + rows), 3, part);
                    twin.backwardPart(ids, first, dy, 3, padding, dpart);
                    for (int t = 0; t < tokens; t++) {
                        boolean here = ids.getInt(t) / rows == r;
                        for (int j = 0; j < width; j++) {
                            assertThat(part.get(t, j)).isEqualTo(here ? y.get(t, j) : 0);
                        }
                    }
                    for (int i = 0; i < rows; i++) {
                        for (int j = 0; j < width; j++) {
                            assertThat(dpart.get(i, j)).isEqualTo(dtable.get(first + i, j));
                        }
                    }
                }
            }
        }
    }
}
