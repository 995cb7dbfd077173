package org.transnormer.bench;

import org.transnormer.tensor.Tensor;

/** Another implementation of the three products of a linear layer, F32, to measure against. */
public interface GemmPeer {

    /** Name, version and the kernel in use. */
    String name();

    /** Uses this many threads from now on. */
    void threads(int count);

    /**
     * One product: y = x · wᵀ, x = y · w or w = yᵀ · x, by direction.
     *
     * @param x (T, I)
     * @param w (O, I)
     * @param y (T, O)
     */
    void multiply(GemmShape.Direction direction, Tensor x, Tensor w, Tensor y);
}
