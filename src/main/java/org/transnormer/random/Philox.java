package org.transnormer.random;

/**
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a bijection of 128-bit counters,
 * chosen by a 64-bit key, whose outputs pass for random. No state, so any element of a stream costs the same. Words
 * are numbered from the least significant; a pair of words is a little-endian long. SPEC section 1.6.
 */
public final class Philox {
    private static final int ROUNDS = 10;
    private static final long MULTIPLIER0 = 0xD2511F53L;
    private static final long MULTIPLIER1 = 0xCD9E8D57L;
    /** The golden ratio and √3 - 1 as 32-bit fractions: what the two key words grow by from round to round. */
    private static final int WEYL0 = 0x9E3779B9;
    private static final int WEYL1 = 0xBB67AE85;
    private static final long WORD = 0xFFFFFFFFL;

    private Philox() {
    }

    /** 128 random bits: words 0 and 1, words 2 and 3. */
    public record Block(long low, long high) {
    }

    /** The block at a counter: {@code low} its words 0 and 1, {@code high} its words 2 and 3. */
    public static Block block(long key, long low, long high) {
        long c0 = low & WORD;
        long c1 = low >>> 32;
        long c2 = high & WORD;
        long c3 = high >>> 32;
        int k0 = (int) key;
        int k1 = (int) (key >>> 32);
        for (int round = 0; round < ROUNDS; round++) {
            long p0 = MULTIPLIER0 * c0;
            long p1 = MULTIPLIER1 * c2;
            c0 = p1 >>> 32 ^ c1 ^ k0 & WORD;
            c1 = p1 & WORD;
            c2 = p0 >>> 32 ^ c3 ^ k1 & WORD;
            c3 = p0 & WORD;
            k0 += WEYL0;
            k1 += WEYL1;
        }
        return new Block(c0 | c1 << 32, c2 | c3 << 32);
    }

    /** Blocks at neighbouring counters, all at once: the same as {@link #block}, in loops for vector instructions. */
    static final class Blocks {
        private final long key;
        private final long[] c0;
        private final long[] c1;
        private final long[] c2;
        private final long[] c3;

        Blocks(long key, int count) {
            this.key = key;
            c0 = new long[count];
            c1 = new long[count];
            c2 = new long[count];
            c3 = new long[count];
        }

        /** Makes block(key, first + i, 0) for every i. */
        void make(long first) {
            for (int i = 0; i < c0.length; i++) {
                c0[i] = first + i & WORD;
                c1[i] = first + i >>> 32;
                c2[i] = 0;
                c3[i] = 0;
            }
            int k0 = (int) key;
            int k1 = (int) (key >>> 32);
            for (int round = 0; round < ROUNDS; round++) {
                round(k0 & WORD, k1 & WORD, c0, c1, c2, c3);
                k0 += WEYL0;
                k1 += WEYL1;
            }
        }

        private static void round(long k0, long k1, long[] c0, long[] c1, long[] c2, long[] c3) {
            for (int i = 0; i < c0.length; i++) {
                long p0 = MULTIPLIER0 * c0[i];
                long p1 = MULTIPLIER1 * c2[i];
                c0[i] = p1 >>> 32 ^ c1[i] ^ k0;
                c2[i] = p0 >>> 32 ^ c3[i] ^ k1;
                c1[i] = p1 & WORD;
                c3[i] = p0 & WORD;
            }
        }

        /** Words 0 and 1 of block i. */
        long low(int i) {
            return c0[i] | c1[i] << 32;
        }

        /** Words 2 and 3 of block i. */
        long high(int i) {
            return c2[i] | c3[i] << 32;
        }
    }
}
