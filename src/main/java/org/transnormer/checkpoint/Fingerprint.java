package org.transnormer.checkpoint;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * A sum over the bytes of a file that several processes form together, each over the bytes that it wrote or read, in any
 * order and cut anywhere. With the file as 64-bit words w, the last one filled up with zeros,
 *
 * <pre>
 * fingerprint = Σ_i k_i w_i mod 2^64,    k_i = (a_i xor a_i / 2^32) or 1,    a_i = (i + 1) c mod 2^64
 * </pre>
 *
 * k is odd, so one changed word always shows; zeros, what a lost write leaves, are unlike anything else. It finds damage
 * and mixed-up files, and is no proof against intent. SPEC section 6.3.
 */
final class Fingerprint {
    private static final ValueLayout.OfLong WORD = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /** 2^64 divided by the golden ratio. */
    private static final long C = 0x9E37_79B9_7F4A_7C15L;

    private Fingerprint() {
    }

    /**
     * What some bytes add to it.
     *
     * @param from their first in memory
     * @param at their first in the file
     */
    static long of(MemorySegment bytes, long from, long at, long count) {
        long sum = 0;
        long i = 0;
        for (; i < count && (at + i) % Long.BYTES != 0; i++) {
            sum += single(bytes.get(ValueLayout.JAVA_BYTE, from + i), at + i);
        }
        long words = (count - i) / Long.BYTES;
        sum += words(bytes, from + i, (at + i) / Long.BYTES, words);
        for (i += words * Long.BYTES; i < count; i++) {
            sum += single(bytes.get(ValueLayout.JAVA_BYTE, from + i), at + i);
        }
        return sum;
    }

    private static long words(MemorySegment bytes, long from, long first, long count) {
        long sum = 0;
        for (long i = 0; i < count; i++) {
            sum += factor(first + i) * bytes.get(WORD, from + i * Long.BYTES);
        }
        return sum;
    }

    private static long single(byte value, long at) {
        return factor(at / Long.BYTES) * (Byte.toUnsignedLong(value) << at % Long.BYTES * Byte.SIZE);
    }

    private static long factor(long word) {
        long a = (word + 1) * C;
        return (a ^ a >>> 32) | 1;
    }
}
