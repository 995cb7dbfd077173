package org.transnormer.data;

import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** What the batch sources share. */
final class Batches {
    private Batches() {
    }

    static void check(BatchSource source, Tensor ids, Tensor targets) {
        for (Tensor t : new Tensor[] {ids, targets}) {
            if (t.dtype() != DType.I32 || t.rank() != 1 || t.dim(0) != source.tokens()) {
                throw new IllegalArgumentException("%s: want I32 [%d]".formatted(t, source.tokens()));
            }
        }
    }
}
