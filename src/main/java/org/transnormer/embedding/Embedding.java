package org.transnormer.embedding;

import org.transnormer.tensor.Tensor;

/**
 * Token embedding, scaled by √d or not; a table of positions is another one, its ids the positions. SPEC section 3.7.
 * Shapes: ids (T) I32, table (V, d), y (T, d); rows may be
 * strided. Whoever fills an id tensor calls {@link #checkIds} on the host, once, before the step: a device twin takes a
 * row of zeros for ids outside the table, the host twins refuse them.
 */
public interface Embedding {
    /** No row is the padding row. */
    int NO_PADDING = -1;

    /** y_t = scale · table[ids_t]. Whatever the padding row holds is used. */
    void forward(Tensor ids, Tensor table, double scale, Tensor y);

    /** y_t += table[ids_t]. */
    void add(Tensor ids, Tensor table, Tensor y);

    /**
     * dtable[i] += scale · Σ_{t: ids_t = i} dy_t, in a fixed order; the row {@code padding} receives nothing.
     *
     * @param padding the padding token, or {@link #NO_PADDING}
     */
    void backward(Tensor ids, Tensor dy, double scale, int padding, Tensor dtable);

    /**
     * As {@link #forward}, of the rows [first, first + V) of a larger table: y_t = 0 where another rank has the row, so
     * that the ranks' results add up to the whole's. SPEC section 7.
     *
     * @param table (V, d)
     */
    void forwardPart(Tensor ids, long first, Tensor table, double scale, Tensor y);

    /**
     * As {@link #backward}, of the rows [first, first + V) of a larger table; tokens of other rows add nothing.
     *
     * @param padding number in the whole table of the padding token, or {@link #NO_PADDING}
     * @param dtable (V, d)
     */
    void backwardPart(Tensor ids, long first, Tensor dy, double scale, int padding, Tensor dtable);

    /**
     * Announces backwards of up to this many tokens, so that scratch memory is planned and taken before the first step.
     *
     * @param tokens largest T
     * @param rows V
     * @param width d
     */
    default void reserve(long tokens, long rows, long width) {
        // a twin without scratch memory has nothing to plan
    }

    /**
     * Refuses ids outside the vocabulary.
     *
     * @param ids (T) I32 in host memory
     * @param vocabulary number of tokens; a padded table has more rows than that
     * @throws IllegalArgumentException naming the first bad id and where it is
     */
    static void checkIds(Tensor ids, long vocabulary) {
        for (long t = 0; t < ids.dim(0); t++) {
            int id = ids.getInt(t);
            if (id < 0 || id >= vocabulary) {
                throw new IllegalArgumentException("%s[%d] is %d, outside the vocabulary of %d tokens"
                        .formatted(ids.name(), t, id, vocabulary));
            }
        }
    }
}
