package org.transnormer.simd;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@link FloatMath} in every lane: the same operations in the same order, so the same bits at any vector width,
 * interpreted or compiled, none of which {@code VectorOperators.EXP} and its kin promise. SPEC section 1.3.
 *
 * <p>A vector that is handed to a call that the compiler does not inline is put on the heap. The compiler always inlines
 * the Vector API, but stops to inline other methods when the code it compiles in one piece has grown to 18,000 nodes,
 * some 50 vector operations. So the methods here do not call each other, and a loop that calls one belongs into a small
 * method of its own.
 */
public final class VectorMath {
    private static final VectorSpecies<Float> F = Simd.FLOAT;

    private VectorMath() {
    }

    /** e^x, as {@link FloatMath#exp}. */
    public static FloatVector exp(FloatVector x) {
        FloatVector z = x.blend(FloatMath.EXP_LOW, x.compare(VectorOperators.LT, FloatMath.EXP_LOW))
                .blend(FloatMath.EXP_HIGH, x.compare(VectorOperators.GT, FloatMath.EXP_HIGH));
        FloatVector rounded = z.fma(FloatVector.broadcast(F, FloatMath.LOG2_E),
                FloatVector.broadcast(F, FloatMath.ROUND));
        FloatVector n = rounded.sub(FloatMath.ROUND);
        FloatVector r = n.fma(FloatVector.broadcast(F, -FloatMath.LN2_LOW),
                n.fma(FloatVector.broadcast(F, -FloatMath.LN2_HIGH), z));
        FloatVector p = r.fma(FloatMath.E6, FloatMath.E5).fma(r, FloatVector.broadcast(F, FloatMath.E4))
                .fma(r, FloatVector.broadcast(F, FloatMath.E3)).fma(r, FloatVector.broadcast(F, FloatMath.E2));
        FloatVector e = r.mul(r).fma(p, r).add(1);
        IntVector whole = rounded.reinterpretAsInts().sub(FloatMath.ROUND_BITS);
        IntVector half = whole.lanewise(VectorOperators.ASHR, 1);
        IntVector otherHalf = whole.sub(half);
        return e.mul(half.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats())
                .mul(otherHalf.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats());
    }

    /** sin x, as {@link FloatMath#sin} of (x, 1). */
    public static FloatVector sin(FloatVector x) {
        FloatVector round = FloatVector.broadcast(F, FloatMath.ROUND);
        FloatVector four = FloatVector.broadcast(F, 4);
        FloatVector high = x.mul(FloatMath.TURN_HIGH);
        FloatVector rest = x.fma(FloatVector.broadcast(F, FloatMath.TURN_LOW),
                x.fma(FloatVector.broadcast(F, FloatMath.TURN_HIGH), high.neg()));
        FloatVector fraction = high.sub(high.add(FloatMath.ROUND_EVEN).sub(FloatMath.ROUND_EVEN));
        FloatVector n = fraction.add(rest).fma(four, round).sub(round);
        FloatVector quarters = rest.fma(four, fraction.fma(four, n.neg()));
        FloatVector r = quarters.fma(FloatVector.broadcast(F, FloatMath.QUARTER_HIGH),
                quarters.mul(FloatMath.QUARTER_LOW));
        FloatVector m = n.fma(FloatVector.broadcast(F, 0.25f), round).sub(round).fma(four.neg(), n);
        FloatVector size = m.abs();
        FloatVector z = r.mul(r);
        FloatVector s = z.mul(r)
                .fma(z.fma(FloatMath.S7, FloatMath.S5).fma(z, FloatVector.broadcast(F, FloatMath.S3)), r);
        FloatVector c = z.fma(FloatMath.C8, FloatMath.C6).fma(z, FloatVector.broadcast(F, FloatMath.C4))
                .fma(z, FloatVector.broadcast(F, -0.5f)).fma(z, FloatVector.broadcast(F, 1));
        return s.fma(FloatVector.broadcast(F, 1).sub(size), c.mul(m.mul(FloatVector.broadcast(F, 2).sub(size))));
    }

    /** cos x, as {@link FloatMath#cos} of (x, 1). */
    public static FloatVector cos(FloatVector x) {
        FloatVector round = FloatVector.broadcast(F, FloatMath.ROUND);
        FloatVector four = FloatVector.broadcast(F, 4);
        FloatVector high = x.mul(FloatMath.TURN_HIGH);
        FloatVector rest = x.fma(FloatVector.broadcast(F, FloatMath.TURN_LOW),
                x.fma(FloatVector.broadcast(F, FloatMath.TURN_HIGH), high.neg()));
        FloatVector fraction = high.sub(high.add(FloatMath.ROUND_EVEN).sub(FloatMath.ROUND_EVEN));
        FloatVector n = fraction.add(rest).fma(four, round).sub(round);
        FloatVector quarters = rest.fma(four, fraction.fma(four, n.neg()));
        FloatVector r = quarters.fma(FloatVector.broadcast(F, FloatMath.QUARTER_HIGH),
                quarters.mul(FloatMath.QUARTER_LOW));
        FloatVector m = n.fma(FloatVector.broadcast(F, 0.25f), round).sub(round).fma(four.neg(), n);
        FloatVector size = m.abs();
        FloatVector z = r.mul(r);
        FloatVector s = z.mul(r)
                .fma(z.fma(FloatMath.S7, FloatMath.S5).fma(z, FloatVector.broadcast(F, FloatMath.S3)), r);
        FloatVector c = z.fma(FloatMath.C8, FloatMath.C6).fma(z, FloatVector.broadcast(F, FloatMath.C4))
                .fma(z, FloatVector.broadcast(F, -0.5f)).fma(z, FloatVector.broadcast(F, 1));
        return c.fma(FloatVector.broadcast(F, 1).sub(size), s.mul(m.mul(size.sub(2))));
    }

    /**
     * Writes cos(θ_i p) and sin(θ_i p) for {@code count} rates, as {@link FloatMath#cos} and {@link FloatMath#sin}.
     * Offsets are in bytes; the outputs do not overlap the rates or each other.
     */
    public static void cosSin(MemorySegment theta, long thetaAt, long count, float p, MemorySegment cos, long cosAt,
            MemorySegment sin, long sinAt) {
        long whole = count - count % Simd.LANES;
        reduce(theta, thetaAt, whole, p, cos, cosAt, sin, sinAt);
        cosSinOfReduced(whole, cos, cosAt, sin, sinAt);
        for (long i = whole; i < count; i++) {
            float rate = theta.get(Simd.ELEMENT, thetaAt + 4 * i);
            cos.set(Simd.ELEMENT, cosAt + 4 * i, FloatMath.cos(rate, p));
            sin.set(Simd.ELEMENT, sinAt + 4 * i, FloatMath.sin(rate, p));
        }
    }

    /** Writes θ p in quarters of a turn: what is left of it, in radians, and the number of quarters, -2 to 2. */
    private static void reduce(MemorySegment theta, long thetaAt, long whole, float p, MemorySegment rests, long restAt,
            MemorySegment quarters, long quarterAt) {
        FloatVector position = FloatVector.broadcast(F, p);
        FloatVector round = FloatVector.broadcast(F, FloatMath.ROUND);
        FloatVector four = FloatVector.broadcast(F, 4);
        for (long i = 0; i < whole; i += Simd.LANES) {
            FloatVector rate = FloatVector.fromMemorySegment(F, theta, thetaAt + 4 * i, Simd.ORDER);
            FloatVector high = rate.mul(FloatMath.TURN_HIGH);
            FloatVector low = rate.fma(FloatVector.broadcast(F, FloatMath.TURN_LOW),
                    rate.fma(FloatVector.broadcast(F, FloatMath.TURN_HIGH), high.neg()));
            FloatVector product = high.mul(position);
            FloatVector fraction = product.sub(product.add(FloatMath.ROUND_EVEN).sub(FloatMath.ROUND_EVEN));
            FloatVector rest = low.fma(position, high.fma(position, product.neg()));
            FloatVector n = fraction.add(rest).fma(four, round).sub(round);
            FloatVector part = rest.fma(four, fraction.fma(four, n.neg()));
            part.fma(FloatVector.broadcast(F, FloatMath.QUARTER_HIGH), part.mul(FloatMath.QUARTER_LOW))
                    .intoMemorySegment(rests, restAt + 4 * i, Simd.ORDER);
            n.fma(FloatVector.broadcast(F, 0.25f), round).sub(round).fma(four.neg(), n)
                    .intoMemorySegment(quarters, quarterAt + 4 * i, Simd.ORDER);
        }
    }

    /** From what {@link #reduce} left: the cosine where the rest was, the sine where the quarters were. */
    private static void cosSinOfReduced(long whole, MemorySegment cos, long cosAt, MemorySegment sin, long sinAt) {
        FloatVector one = FloatVector.broadcast(F, 1);
        for (long i = 0; i < whole; i += Simd.LANES) {
            FloatVector r = FloatVector.fromMemorySegment(F, cos, cosAt + 4 * i, Simd.ORDER);
            FloatVector m = FloatVector.fromMemorySegment(F, sin, sinAt + 4 * i, Simd.ORDER);
            FloatVector even = one.sub(m.abs());
            FloatVector odd = m.mul(one.add(even));
            FloatVector z = r.mul(r);
            FloatVector s = z.mul(r)
                    .fma(z.fma(FloatMath.S7, FloatMath.S5).fma(z, FloatVector.broadcast(F, FloatMath.S3)), r);
            FloatVector c = z.fma(FloatMath.C8, FloatMath.C6).fma(z, FloatVector.broadcast(F, FloatMath.C4))
                    .fma(z, FloatVector.broadcast(F, -0.5f)).fma(z, one);
            c.fma(even, s.mul(odd.neg())).intoMemorySegment(cos, cosAt + 4 * i, Simd.ORDER);
            s.fma(even, c.mul(odd)).intoMemorySegment(sin, sinAt + 4 * i, Simd.ORDER);
        }
    }
}
