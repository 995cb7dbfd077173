package org.transnormer.embedding;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.EnumSet;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** What every twin of {@link Embedding} does. SPEC section 3.7. */
interface EmbeddingContract {
    /** tokens T, rows V, width d; a gap after each row of y and dy; which token is the padding. */
    record Case(int tokens, int rows, int width, int gap, int padding, boolean scaled, Values values, long seed) {
        double scale() {
            return scaled ? Math.sqrt(width) : 1;
        }
    }

    Embedding subject();

    /** Element type of y and dy. */
    DType dtype();

    /** Element type of dtable. */
    default DType gradients() {
        return dtype() == DType.BF16 ? DType.F32 : dtype();
    }

    /** Element types of the table. */
    default Set<DType> tables() {
        return EnumSet.of(dtype(), DType.BF16);
    }

    /** What comes of an F32 number that is rounded to BF16, in u of BF16: the first rounding is a little of the second. */
    double TWICE = 0x1p-15;

    @Provide
    default Arbitrary<Case> cases() {
        return Combinators.combine(Arbitraries.integers().between(0, 70), Arbitraries.integers().between(1, 12),
                Arbitraries.of(1, 3, 8, 15, 16, 17, 31, 33, 64, 100, 256, 257, 300), Arbitraries.of(0, 1, 5),
                Arbitraries.of(Embedding.NO_PADDING, 0, 3), Arbitraries.of(true, false), Arbitraries.of(Values.class),
                Arbitraries.longs()).as(Case::new);
    }

    private static Tensor ids(TestTensors tensors, Case c) {
        Tensor ids = tensors.zeros("ids", DType.I32, c.tokens);
        for (int t = 0; t < c.tokens; t++) {
            ids.setInt(t, tensors.random().nextInt(c.rows));
        }
        return ids;
    }

    /**
     * Scale and product are each rounded once: 2 u, a little more for second order. Without a scale it is a copy. For BF16
     * that is done in F32, and the product rounded once more.
     */
    @Property(tries = 60)
    default void forwardIsTheSpec(@ForAll("cases") Case c) {
        for (DType tableType : tables()) {
            try (TestTensors tensors = new TestTensors(c.seed)) {
                Tensor ids = ids(tensors, c);
                Tensor table = tensors.fill(tensors.strided("table", tableType, c.gap + 2, c.rows, c.width), c.values);
                Tensor y = tensors.strided("y", dtype(), c.gap, c.tokens, c.width);
                Tensor want = tensors.poisoned("want", DType.F64, c.tokens, c.width);
                subject().forward(ids, table, c.scale(), y);
                new EmbeddingScalar().forward(ids, table, c.scale(), want);
                double roundings = !c.scaled ? 1e-3 : dtype() == DType.BF16 ? 1 + 2 * TWICE : 2.01;
                new Tolerance(roundings, roundings).compare("y", y, want, null, dtype().unitRoundoff()).orThrow();
            }
        }
    }

    /** One rounding; on zeros a copy. */
    @Property(tries = 60)
    default void addIsTheSpec(@ForAll("cases") Case c) {
        for (DType tableType : tables()) {
            try (TestTensors tensors = new TestTensors(c.seed)) {
                Tensor ids = ids(tensors, c);
                Tensor table = tensors.fill(tensors.strided("table", tableType, c.gap + 2, c.rows, c.width), c.values);
                Tensor y = tensors.fill(tensors.strided("y", dtype(), c.gap, c.tokens, c.width), c.values);
                Tensor want = tensors.copy(y, DType.F64);
                subject().add(ids, table, y);
                new EmbeddingScalar().add(ids, table, want);
                new Tolerance(1 + TWICE, 1 + TWICE).compare("y", y, want, null, dtype().unitRoundoff()).orThrow();
            }
        }
    }

    /**
     * One rounding per token that lands in a row, and the scale's: c = n + 2 for n tokens in the fullest row. Equal
     * values drift by n / 4 at most; others hardly: rms = n / 4 + 2.
     */
    @Property(tries = 60)
    default void backwardIsTheSpec(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            Tensor ids = ids(tensors, c);
            Tensor dy = tensors.fill(tensors.strided("dy", dtype(), c.gap, c.tokens, c.width), c.values);
            Tensor dtable = tensors.fill(tensors.strided("dtable", gradients(), c.gap + 2, c.rows, c.width), c.values);
            Tensor want = tensors.copy(dtable, DType.F64);
            Tensor terms = tensors.magnitude(dtable);
            Tensor before = tensors.copy(dtable, gradients());
            new EmbeddingScalar().backward(ids, dy, c.scale(), c.padding, want);
            new EmbeddingScalar().backward(ids, tensors.magnitude(dy), c.scale(), c.padding, terms);
            subject().backward(ids, dy, c.scale(), c.padding, dtable);
            int[] count = new int[c.rows];
            int fullest = 0;
            for (int t = 0; t < c.tokens; t++) {
                fullest = Math.max(fullest, ++count[ids.getInt(t)]);
            }
            new Tolerance(fullest + 2, fullest / 4.0 + 2).compare("dtable", dtable, want, terms,
                    gradients().unitRoundoff()).orThrow();
            for (int i = 0; i < c.rows; i++) {
                for (int j = 0; j < c.width && (count[i] == 0 || i == c.padding); j++) {
                    assertThat(dtable.get(i, j)).isEqualTo(before.get(i, j));
                }
            }
        }
    }

    /** ⟨forward(table), dy⟩ = ⟨table, backward(dy)⟩ without a padding row: the backward is the transpose. */
    @Property(tries = 40)
    default void backwardIsTheTranspose(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            Tensor ids = ids(tensors, c);
            Tensor table = tensors.random("table", dtype(), c.values, c.rows, c.width);
            Tensor dy = tensors.random("dy", dtype(), c.values, c.tokens, c.width);
            Tensor y = tensors.poisoned("y", dtype(), c.tokens, c.width);
            Tensor dtable = tensors.zeros("dtable", gradients(), c.rows, c.width);
            subject().forward(ids, table, c.scale(), y);
            subject().backward(ids, dy, c.scale(), Embedding.NO_PADDING, dtable);
            double left = 0;
            double terms = 0;
            for (long i = 0; i < y.size(); i++) {
                left += y.getFlat(i) * dy.getFlat(i);
                terms += Math.abs(y.getFlat(i) * dy.getFlat(i));
            }
            double right = 0;
            for (long i = 0; i < table.size(); i++) {
                right += table.getFlat(i) * dtable.getFlat(i);
            }
            double ownSums = (y.size() + table.size()) * DType.F64.unitRoundoff();
            assertThat(Math.abs(left - right))
                    .isLessThanOrEqualTo(((c.tokens + 4) * dtype().unitRoundoff() + ownSums) * terms);
        }
    }

    /** Tables of which a rank has some rows: bit for bit the whole's; zeros where another rank has the row. */
    @Property(tries = 30)
    default void partsAreTheirRowsOfTheWhole(@ForAll("cases") Case c, @ForAll @IntRange(min = 1, max = 4) int ranks) {
        try (TestTensors tensors = new TestTensors(c.seed)) {
            int all = ranks * c.rows;
            Tensor ids = ids(tensors, new Case(c.tokens, all, c.width, 0, 0, false, c.values, 0));
            Tensor table = tensors.fill(tensors.strided("table", dtype(), c.gap, all, c.width), c.values);
            Tensor dy = tensors.fill(tensors.strided("dy", dtype(), c.gap, c.tokens, c.width), c.values);
            Tensor y = tensors.poisoned("y", dtype(), c.tokens, c.width);
            Tensor dtable = tensors.zeros("dtable", gradients(), all, c.width);
            subject().forward(ids, table, c.scale(), y);
            subject().backward(ids, dy, c.scale(), c.padding, dtable);
            for (int r = 0; r < ranks; r++) {
                long first = (long) r * c.rows;
                Tensor part = tensors.strided("part", dtype(), c.gap + 1, c.tokens, c.width);
                Tensor dpart = tensors.zeros("dpart", gradients(), c.rows, c.width);
                subject().forwardPart(ids, first, table.slice(0, first, first + c.rows), c.scale(), part);
                subject().backwardPart(ids, first, dy, c.scale(), c.padding, dpart);
                for (int t = 0; t < c.tokens; t++) {
                    boolean here = ids.getInt(t) / c.rows == r;
                    for (int j = 0; j < c.width; j++) {
                        assertThat(part.get(t, j)).isEqualTo(here ? y.get(t, j) : 0);
                    }
                }
                for (int i = 0; i < c.rows; i++) {
                    for (int j = 0; j < c.width; j++) {
                        assertThat(dpart.get(i, j)).isEqualTo(dtable.get(first + i, j));
                    }
                }
            }
        }
    }

    @Example
    default void badArgumentsAreNamed() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor ids = tensors.zeros("ids", DType.I32, 3);
            Tensor table = tensors.zeros("table", dtype(), 5, 4);
            assertThatThrownBy(() -> subject().forward(ids, table, 1, tensors.zeros("y", dtype(), 3, 5)))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("y " + dtype() + " [3, 5]")
                    .hasMessageContaining("want [3, 4]");
            assertThatThrownBy(() -> subject().forward(table, table, 1, tensors.zeros("y", dtype(), 3, 4)))
                    .hasMessageContaining("ids is table");
            assertThatThrownBy(() -> subject().add(ids, table, tensors.zeros("y", dtype(), 3, 5)))
                    .hasMessageContaining("want [3, 4]");
            assertThatThrownBy(() -> subject().backward(ids, tensors.zeros("dy", dtype(), 2, 4), 1, 0, table))
                    .hasMessageContaining("want [3, 4]");
        }
    }

    @Example
    default void idsOutsideTheVocabularyAreFoundOnTheHost() {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor ids = tensors.zeros("batch.ids", DType.I32, 3);
            Embedding.checkIds(ids, 1);
            ids.setInt(2, 64_000);
            Embedding.checkIds(ids, 64_001);
            assertThatThrownBy(() -> Embedding.checkIds(ids, 64_000)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("batch.ids[2] is 64000, outside the vocabulary of 64000 tokens");
            ids.setInt(1, -1);
            assertThatThrownBy(() -> Embedding.checkIds(ids, 64_001)).hasMessageContaining("batch.ids[1] is -1");
        }
    }

    /** For host twins. */
    static void refusesIdsOutsideTheTable(Embedding subject, DType dtype) {
        try (TestTensors tensors = new TestTensors(0)) {
            Tensor ids = tensors.zeros("ids", DType.I32, 3);
            Tensor table = tensors.zeros("table", dtype, 5, 4);
            Tensor y = tensors.zeros("y", dtype, 3, 4);
            ids.setInt(1, 5);
            assertThatThrownBy(() -> subject.forward(ids, table, 1, y)).hasMessageContaining("ids[1] is 5");
            assertThatThrownBy(() -> subject.add(ids, table, y)).hasMessageContaining("ids[1] is 5");
            assertThatThrownBy(() -> subject.backward(ids, y, 1, 0, table)).hasMessageContaining("ids[1] is 5");
        }
    }
}
