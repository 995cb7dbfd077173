package org.transnormer.parallel;

import java.util.Arrays;
import org.transnormer.tensor.Tensor;

/**
 * How a tensor is split over ranks, and which part this rank holds. SPEC section 7.
 *
 * <p>The axis is {@code groups} runs of equal length one after the other, as q, k, v and u are in their projection; of
 * each run a rank holds the same share, and its part is these shares one after the other. Element i of the part, row by
 * row, is element {@link #wholeIndex} of the whole.
 *
 * @param axis that is split, or {@link #NONE}: every rank holds the whole
 * @param groups runs along the axis
 * @param rank whose part it is
 * @param size ranks
 */
public record Shard(int axis, int groups, int rank, int size) {
    /** No axis: every rank holds the whole. */
    public static final int NONE = -1;

    /** The whole. */
    public static Shard whole() {
        return new Shard(NONE, 1, 0, 1);
    }

    /** Whether every rank holds the same. */
    public boolean isReplicated() {
        return axis == NONE;
    }

    /**
     * Shape of the part.
     *
     * @param whole shape of the whole
     * @throws IllegalArgumentException if it cannot be split so
     */
    public long[] part(long... whole) {
        long[] part = whole.clone();
        if (axis != NONE) {
            if (whole[axis] % ((long) groups * size) != 0) {
                throw new IllegalArgumentException("axis %d of %s is not %d times %d equal parts".formatted(axis,
                        Arrays.toString(whole), groups, size));
            }
            part[axis] /= size;
        }
        return part;
    }

    /** Index in the whole, row by row, of element {@code index} of a part of this shape. */
    public long wholeIndex(long index, long... part) {
        if (axis == NONE) {
            return index;
        }
        long run = run(part);
        return (index / run * size + rank) * run + index % run;
    }

    /** Elements of the part from {@code index} on that lie behind each other in the whole, itself counted. */
    public long runFrom(long index, long... part) {
        long run = run(part);
        return run - index % run;
    }

    private long run(long... part) {
        long run = 1;
        for (int i = Math.max(axis, 0); i < part.length; i++) {
            run *= part[i];
        }
        return run / groups;
    }

    /**
     * Copies this rank's part out of a whole. Where the whole ends before the part does, as a vocabulary without its
     * padding may, the rest of the part is not touched.
     *
     * @param whole without gaps, in host memory
     * @param part without gaps, in host memory
     */
    public void take(Tensor whole, Tensor part) {
        copy(whole, part, false);
    }

    /** Copies this rank's part to where it belongs in a whole, the reverse of {@link #take}. */
    public void give(Tensor part, Tensor whole) {
        copy(whole, part, true);
    }

    private void copy(Tensor whole, Tensor part, boolean give) {
        long[] shape = part.shape();
        long n;
        for (long i = 0; i < part.size(); i += n) {
            long at = wholeIndex(i, shape);
            n = runFrom(i, shape);
            long there = Math.min(n, whole.size() - at);
            if (there > 0) {
                Tensor one = range(whole, at, there);
                Tensor other = range(part, i, there);
                (give ? one : other).copyFrom(give ? other : one);
            }
        }
    }

    private static Tensor range(Tensor x, long from, long count) {
        if (!x.isContiguous()) {
            throw new IllegalArgumentException("%s has gaps, want none".formatted(x));
        }
        return Tensor.of(x.name(), x.dtype(), x.storage(), x.offset() + from, count);
    }
}
