package org.transnormer.embedding;

import org.transnormer.tensor.Tensor;

/** Token embedding, scaled by √d or not. SPEC section 3.7. Shapes: ids (T) I32, table (V, d), y (T, d). */
public interface Embedding {
    /** No row is the padding row. */
    int NO_PADDING = -1;

    /** y_t = scale · table[ids_t]. Whatever the padding row holds is used. */
    void forward(Tensor ids, Tensor table, double scale, Tensor y);

    /**
     * dtable[i] += scale · Σ_{t: ids_t = i} dy_t, in the order of t; the row {@code padding} receives nothing.
     *
     * @param padding the padding token, or {@link #NO_PADDING}
     */
    void backward(Tensor ids, Tensor dy, double scale, int padding, Tensor dtable);
}
