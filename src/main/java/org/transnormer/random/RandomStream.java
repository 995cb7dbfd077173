package org.transnormer.random;

import java.nio.charset.StandardCharsets;

/**
 * The random numbers of one (seed, purpose, name), each a pure function of its 64-bit index: the same on every machine
 * and backend, in any order, from any thread, and a shard draws only its own part. SPEC section 1.6.
 *
 * <pre>
 * key      = low half of Philox(seed; FNV-1a-64(name), purpose code)
 * block(i) = Philox(key; i, 0) = (low, high), 64 bits each
 * </pre>
 *
 * Different methods at one index read the same block: a stream serves one kind of draw.
 */
public final class RandomStream {
    private static final long FNV_OFFSET = 0xcbf29ce484222325L;
    private static final long FNV_PRIME = 0x100000001b3L;

    private final long key;

    /** @param name what the numbers are for within the purpose: a parameter's name, a data file and epoch */
    public RandomStream(long seed, Purpose purpose, String name) {
        key = Philox.block(seed, hash(name), purpose.code()).low();
    }

    /** 64 random bits: the low half of block(index). */
    public long bits(long index) {
        return Philox.block(key, index, 0).low();
    }

    /** Uniform in [0, 1), a multiple of 2^-53: the upper 53 of {@link #bits}. */
    public double uniform(long index) {
        return fraction(bits(index));
    }

    /** Uniform in [0, 1), a multiple of 2^-24: the upper 24 of {@link #bits}. */
    public float uniformFloat(long index) {
        return (bits(index) >>> 40) * 0x1p-24f;
    }

    /**
     * Standard normal by Box-Muller in double: with (low, high) = block(index / 2), r = √(-2 ln(1 - fraction(low))) and
     * φ = 2π fraction(high), it is r cos φ for an even and r sin φ for an odd index. {@link BoxMuller} makes it bitwise
     * the same on every machine. At most 8.6 in size.
     */
    public double normal(long index) {
        double[] one = new double[1];
        normals(index, one);
        return one[0];
    }

    /** values_i = normal(first + i), many times faster where there are many. */
    public void normals(long first, double[] values) {
        new Normals().fill(first, values, values.length);
    }

    /** Draws many normals, with buffers of its own: for one thread. */
    public final class Normals {
        private final BoxMuller pairs = new BoxMuller(key);
        /** First pair of the block that was made last. */
        private long start = -BoxMuller.PAIRS;

        /** normal(index), many times faster where indices follow each other. */
        public double at(long index) {
            long pair = index >>> 1;
            if (pair < start || pair >= start + BoxMuller.PAIRS) {
                make(pair);
            }
            int i = (int) (pair - start);
            return (index & 1) == 0 ? pairs.first(i) : pairs.second(i);
        }

        private void make(long pair) {
            pairs.make(pair);
            start = pair;
        }

        /** values_i = normal(first + i) for i &lt; count. */
        public void fill(long first, double[] values, int count) {
            int at = 0;
            while (at < count) {
                long index = first + at;
                make(index >>> 1);
                int end = (int) Math.min(count, at + 2L * BoxMuller.PAIRS - (index & 1));
                for (; at < end; at++) {
                    int i = (int) (first + at - (index & -2));
                    values[at] = (i & 1) == 0 ? pairs.first(i >> 1) : pairs.second(i >> 1);
                }
            }
        }
    }

    /**
     * Uniform in [0, bound), without bias: the upper half of low · bound, drawn again from Philox(key; index, attempt)
     * for attempt = 1, 2, … while the lower half is below 2^64 mod bound.
     *
     * @throws IllegalArgumentException if the bound is not positive
     */
    public long below(long index, long bound) {
        if (bound <= 0) {
            throw new IllegalArgumentException("bound must be positive, not " + bound);
        }
        long excess = Long.remainderUnsigned(-bound, bound);
        for (long attempt = 0;; attempt++) {
            long draw = Philox.block(key, index, attempt).low();
            if (Long.compareUnsigned(draw * bound, excess) >= 0) {
                return Math.unsignedMultiplyHigh(draw, bound);
            }
        }
    }

    /** A random order of 0 to n - 1 with no table. */
    public Permutation permutation(long n) {
        return new Permutation(key, n);
    }

    private static double fraction(long bits) {
        return (bits >>> 11) * 0x1p-53;
    }

    private static long hash(String name) {
        long hash = FNV_OFFSET;
        for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
            hash = (hash ^ b & 0xff) * FNV_PRIME;
        }
        return hash;
    }
}
