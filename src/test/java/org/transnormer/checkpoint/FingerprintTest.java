package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.math.BigInteger;
import java.util.SplittableRandom;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class FingerprintTest {
    private static byte[] bytes(int length, long seed) {
        byte[] bytes = new byte[length];
        new SplittableRandom(seed).nextBytes(bytes);
        return bytes;
    }

    /** By the formula, with numbers of any length. */
    private static long formula(byte[] bytes) {
        BigInteger range = BigInteger.ONE.shiftLeft(64);
        BigInteger c = new BigInteger("9E3779B97F4A7C15", 16);
        BigInteger sum = BigInteger.ZERO;
        for (int i = 0; i < bytes.length; i++) {
            BigInteger a = BigInteger.valueOf(i / 8 + 1).multiply(c).mod(range);
            BigInteger k = a.xor(a.shiftRight(32)).or(BigInteger.ONE);
            sum = sum.add(k.multiply(BigInteger.valueOf(bytes[i] & 0xff).shiftLeft(8 * (i % 8))));
        }
        return sum.mod(range).longValue();
    }

    @Property(tries = 100)
    void isTheSumHoweverTheFileIsCut(@ForAll @IntRange(min = 0, max = 100) int length, @ForAll long seed) {
        byte[] bytes = bytes(length, seed);
        SplittableRandom random = new SplittableRandom(seed + 1);
        long sum = 0;
        int count;
        for (int at = 0; at < length; at += count) {
            count = 1 + random.nextInt(length - at);
            // Where the piece lies in memory does not matter.
            byte[] elsewhere = new byte[length + 5];
            System.arraycopy(bytes, at, elsewhere, 3, count);
            sum += Fingerprint.of(MemorySegment.ofArray(elsewhere), 3, at, count);
        }
        assertThat(sum).isEqualTo(formula(bytes));
    }

    @Test
    void damageShows() {
        byte[] bytes = bytes(64, 7);
        long whole = formula(bytes);
        for (int bit = 0; bit < 8 * bytes.length; bit++) {
            bytes[bit / 8] ^= (byte) (1 << bit % 8);
            assertThat(Fingerprint.of(MemorySegment.ofArray(bytes), 0, 0, bytes.length)).isNotEqualTo(whole);
            bytes[bit / 8] ^= (byte) (1 << bit % 8);
        }
        byte[] swapped = bytes.clone();
        System.arraycopy(bytes, 0, swapped, 8, 8);
        System.arraycopy(bytes, 8, swapped, 0, 8);
        assertThat(Fingerprint.of(MemorySegment.ofArray(swapped), 0, 0, 64)).isNotEqualTo(whole);
    }
}
