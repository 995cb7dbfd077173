package org.transnormer.parallel;

import java.util.Arrays;
import org.transnormer.tensor.Tensor;

/** What every communicator checks before it exchanges anything. */
final class CollectiveArguments {
    private CollectiveArguments() {
    }

    static void gapless(String operation, Tensor x) {
        if (!x.isContiguous()) {
            throw new IllegalArgumentException("%s: %s has gaps, want none".formatted(operation, x));
        }
    }

    /** Of an all-gather or a reduce-scatter: (n, ...) and (size · n, ...). */
    static void parts(String operation, Tensor part, Tensor whole, int size) {
        gapless(operation, part);
        gapless(operation, whole);
        long[] want = part.shape();
        if (want.length > 0) {
            want[0] *= size;
        }
        if (want.length == 0 || part.dtype() != whole.dtype() || !Arrays.equals(want, whole.shape())) {
            throw new IllegalArgumentException("%s: the whole is %s and a part of %d is %s, want %s %s".formatted(
                    operation, whole, size, part, part.dtype(), Arrays.toString(want)));
        }
    }

    /** Whether both begin at one place of one storage. */
    static boolean same(Tensor a, Tensor b) {
        return a.storage() == b.storage() && a.offset() == b.offset();
    }

    static void rank(String operation, int rank, int size) {
        if (rank < 0 || rank >= size) {
            throw new IllegalArgumentException("%s: rank %d, want 0 to %d".formatted(operation, rank, size - 1));
        }
    }

    static void other(String operation, int rank, int own, int size) {
        rank(operation, rank, size);
        if (rank == own) {
            throw new IllegalArgumentException("%s: rank %d would exchange with itself".formatted(operation, own));
        }
    }
}
