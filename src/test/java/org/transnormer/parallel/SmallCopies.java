package org.transnormer.parallel;

import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.NcclId;

/** Ranks whose sums beside the computation go by copies however small they are, in turns of 64 KiB: models of tests. */
public final class SmallCopies {
    private static final CopiedSums.Sizes SIZES = new CopiedSums.Sizes(1, 64 << 10);

    private SmallCopies() {
    }

    /** As {@link Nccl#join(Gpu, NcclId, int, int)}. */
    public static Nccl join(Gpu gpu, NcclId id, int rank, int size) {
        return Nccl.join(gpu, id, rank, size, () -> {
        }, SIZES);
    }
}
