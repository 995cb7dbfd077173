package org.transnormer.random;

/**
 * A random bijection of [0, n), computed entry by entry: shuffling a data set needs no table and resumes from an index
 * alone. A Feistel network permutes the numbers of 2h bits, the smallest such range that holds n; a result outside
 * [0, n) goes through again until it falls inside, which is a bijection of [0, n) because the network is one. SPEC
 * section 1.6.
 *
 * <pre>
 * (left, right) ← (right, left ⊕ (the low h bits of Philox(key; right, (round, 1))))      8 rounds
 * </pre>
 */
public final class Permutation {
    private static final int ROUNDS = 8;
    /** Below 64 numbers the network reaches too few of the n! orders evenly. */
    private static final int SMALLEST_HALF = 3;
    /** Word 3 of the counter: apart from the draws of the stream, where it is 0. */
    private static final long TAG = 1L << 32;

    private final long key;
    private final long size;
    private final int half;
    private final long mask;

    Permutation(long key, long size) {
        if (size < 0 || size > 1L << 62) {
            throw new IllegalArgumentException("a permutation has 0 to 2^62 entries, not " + size);
        }
        this.key = key;
        this.size = size;
        int bits = Long.SIZE - Long.numberOfLeadingZeros(Math.max(size - 1, 0));
        half = Math.max(SMALLEST_HALF, (bits + 1) / 2);
        mask = (1L << half) - 1;
    }

    /** n. */
    public long size() {
        return size;
    }

    /**
     * Entry {@code index} of the order.
     *
     * @throws IndexOutOfBoundsException unless 0 ≤ index &lt; size
     */
    public long get(long index) {
        if (index < 0 || index >= size) {
            throw new IndexOutOfBoundsException("entry %d of a permutation of %d".formatted(index, size));
        }
        long x = index;
        do {
            x = feistel(x);
        } while (x >= size);
        return x;
    }

    private long feistel(long x) {
        long left = x >>> half;
        long right = x & mask;
        for (int round = 0; round < ROUNDS; round++) {
            long next = left ^ Philox.block(key, right, TAG | round).low() & mask;
            left = right;
            right = next;
        }
        return left << half | right;
    }
}
