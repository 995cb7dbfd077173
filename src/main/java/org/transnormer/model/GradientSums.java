package org.transnormer.model;

import java.util.List;
import org.transnormer.backend.Backend;

/**
 * Sums the gradients of ranks that read different data while the backward goes on: a block's when the next one's
 * backward begins, all others at the end. SPEC section 7.3.
 *
 * <p>Where a rank keeps only a share of a block's gradient, every micro-batch is summed, and what the earlier ones left
 * goes in with it: each rank starts from its share of the sum so far, and from zero elsewhere.
 */
final class GradientSums {
    private final Backend backend;
    private final Weights weights;
    private final DataParallel data;
    private final List<ParameterGroup> others;
    private ParameterGroup written;

    GradientSums(Backend backend, Weights weights) {
        this.backend = backend;
        this.weights = weights;
        this.data = weights.dataParallel();
        others = weights.groups().stream().filter(group -> !weights.isMatricesOfBlock(group)).toList();
    }

    /**
     * Before a block's backward, and after {@link Weights#enter}, which waits for the exchange that its slot was last
     * part of.
     *
     * @param accumulate whether earlier micro-batches left gradients
     */
    void before(int layer, boolean accumulate) {
        reduceWritten();
        ParameterGroup group = weights.matrices(layer);
        if (group.isGathered() && accumulate) {
            backend.zero(group.gradient());
            backend.copy(group.gradientShare(), group.share().of(group.gradient()));
        }
    }

    /**
     * After a block's backward.
     *
     * @param last whether this is the last micro-batch
     */
    void after(int layer, boolean last) {
        ParameterGroup group = weights.matrices(layer);
        if (last || group.isGathered()) {
            written = group;
        }
    }

    /** After the backward. */
    void finish(boolean last) {
        reduceWritten();
        if (last) {
            others.forEach(data::reduce);
            data.await();
        }
    }

    private void reduceWritten() {
        if (written != null) {
            data.reduce(written);
            written = null;
        }
    }
}
