package org.transnormer.activation;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.transnormer.simd.FloatMath;
import org.transnormer.simd.Rows;
import org.transnormer.simd.Simd;
import org.transnormer.simd.VectorMath;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.Tensor;

/**
 * {@link Activation} on F32, rows shared out to threads. Exponentials, sines and cosines are polynomials, good to a few
 * units in the last place, instead of the spec's exactly rounded ones; the tail of a row goes through the same
 * operations, under a mask or one by one, so a result does not depend on where in a vector it was made. GELU, which no
 * released model uses, is the spec's, element by element. SPEC section 3.5.
 */
public final class ActivationVector implements Activation {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(Simd.ORDER);
    private static final float LEAK_SLOPE = 0.01f;
    /** Above this e^x - 1 loses digits and its series, to the eighth power, does not. */
    private static final float SERIES_BOUND = -0.5f;
    private final Workers workers;

    public ActivationVector(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(ActivationFunction f, Tensor x, Tensor y) {
        check("x", x, x);
        check("y", y, x);
        boolean joined = f != ActivationFunction.EXP && adjacent(x) && adjacent(y);
        long heads = joined ? 1 : x.dim(1);
        long columns = joined ? x.dim(1) * x.dim(2) : x.dim(2);
        long perTask = Rows.perTask(heads * columns);
        workers.run(Rows.tasks(x.dim(0), heads * columns), (task, worker) -> {
            long end = Math.min(x.dim(0), (task + 1) * perTask);
            for (long t = task * perTask; t < end; t++) {
                for (long h = 0; h < heads; h++) {
                    forwardRow(f, x.segment(), at(x, t, h), y.segment(), at(y, t, h), columns);
                }
            }
        });
    }

    @Override
    public void backward(ActivationFunction f, Tensor x, Tensor dy, Tensor dx) {
        check("x", x, x);
        check("dy", dy, x);
        check("dx", dx, x);
        boolean joined = f != ActivationFunction.EXP && adjacent(x) && adjacent(dy) && adjacent(dx);
        long heads = joined ? 1 : x.dim(1);
        long columns = joined ? x.dim(1) * x.dim(2) : x.dim(2);
        long perTask = Rows.perTask(heads * columns);
        workers.run(Rows.tasks(x.dim(0), heads * columns), (task, worker) -> {
            long end = Math.min(x.dim(0), (task + 1) * perTask);
            for (long t = task * perTask; t < end; t++) {
                for (long h = 0; h < heads; h++) {
                    backwardRow(f, x.segment(), at(x, t, h), dy.segment(), at(dy, t, h), dx.segment(), at(dx, t, h),
                            columns);
                }
            }
        });
    }

    /** y = f(x) over one row of n elements; offsets in bytes, here and below. */
    private static void forwardRow(ActivationFunction f, MemorySegment x, long xAt, MemorySegment y, long yAt, long n) {
        switch (f) {
            case SILU -> silu(x, xAt, y, yAt, n);
            case SIGMOID -> sigmoid(x, xAt, y, yAt, n);
            case ELU -> elu(x, xAt, y, yAt, n, 0);
            case ONE_PLUS_ELU -> elu(x, xAt, y, yAt, n, 1);
            case TWO_PLUS_ELU -> elu(x, xAt, y, yAt, n, 2);
            case RELU -> piecewise(x, xAt, y, yAt, n, 0);
            case LEAK -> piecewise(x, xAt, y, yAt, n, LEAK_SLOPE);
            case IDENTITY -> MemorySegment.copy(x, xAt, y, yAt, n * Float.BYTES);
            case EXP -> exp(x, xAt, y, yAt, n, max(x, xAt, n));
            case SINE -> sine(x, xAt, y, yAt, n);
            case GELU -> {
                for (long j = 0; j < n * Float.BYTES; j += Float.BYTES) {
                    y.set(FLOAT, yAt + j, (float) ActivationScalar.value(f, x.get(FLOAT, xAt + j)));
                }
            }
        }
    }

    /** dx = f'(x) dy over one row. */
    private static void backwardRow(ActivationFunction f, MemorySegment x, long xAt, MemorySegment dy, long dyAt,
            MemorySegment dx, long dxAt, long n) {
        switch (f) {
            case SILU -> siluBackward(x, xAt, dy, dyAt, dx, dxAt, n);
            case SIGMOID -> sigmoidBackward(x, xAt, dy, dyAt, dx, dxAt, n);
            case ELU, ONE_PLUS_ELU, TWO_PLUS_ELU -> eluBackward(x, xAt, dy, dyAt, dx, dxAt, n);
            case RELU -> piecewiseBackward(x, xAt, dy, dyAt, dx, dxAt, n, 0);
            case LEAK -> piecewiseBackward(x, xAt, dy, dyAt, dx, dxAt, n, LEAK_SLOPE);
            case IDENTITY -> MemorySegment.copy(dy, dyAt, dx, dxAt, n * Float.BYTES);
            case EXP -> expBackward(x, xAt, dy, dyAt, dx, dxAt, n, max(x, xAt, n));
            case SINE -> sineBackward(x, xAt, dy, dyAt, dx, dxAt, n);
            case GELU -> {
                for (long j = 0; j < n * Float.BYTES; j += Float.BYTES) {
                    dx.set(FLOAT, dxAt + j,
                            (float) (ActivationScalar.derivative(f, x.get(FLOAT, xAt + j)) * dy.get(FLOAT, dyAt + j)));
                }
            }
        }
    }

    /** x σ(x), σ from z = e^-|x|, which does not overflow: z/(1+z) for negative x, 1/(1+z) otherwise. */
    private static void silu(MemorySegment x, long xAt, MemorySegment y, long yAt, long n) {
        long j = 0;
        for (long end = n - Simd.LANES; j <= end; j += Simd.LANES) {
            FloatVector v = FloatVector.fromMemorySegment(Simd.FLOAT, x, xAt + j * Float.BYTES, Simd.ORDER);
            FloatVector z = VectorMath.exp(v.abs().neg());
            FloatVector numerator = FloatVector.broadcast(Simd.FLOAT, 1).blend(z, v.lt(0));
            v.mul(numerator.div(z.add(1))).intoMemorySegment(y, yAt + j * Float.BYTES, Simd.ORDER);
        }
        for (; j < n; j++) {
            float v = x.get(FLOAT, xAt + j * Float.BYTES);
            float z = FloatMath.exp(-Math.abs(v));
            y.set(FLOAT, yAt + j * Float.BYTES, v * ((v < 0 ? z : 1) / (z + 1)));
        }
    }

    /** dy σ(x) (1 + x σ(-x)). */
    private static void siluBackward(MemorySegment x, long xAt, MemorySegment dy, long dyAt, MemorySegment dx,
            long dxAt,
            long n) {
        long j = 0;
        for (long end = n - Simd.LANES; j <= end; j += Simd.LANES) {
            FloatVector v = FloatVector.fromMemorySegment(Simd.FLOAT, x, xAt + j * Float.BYTES, Simd.ORDER);
            FloatVector z = VectorMath.exp(v.abs().neg());
            FloatVector one = FloatVector.broadcast(Simd.FLOAT, 1);
            FloatVector inverse = one.div(z.add(1));
            FloatVector zInverse = z.mul(inverse);
            VectorMask<Float> negative = v.lt(0);
            FloatVector slope = v.fma(zInverse.blend(inverse, negative), one).mul(inverse.blend(zInverse, negative));
            FloatVector.fromMemorySegment(Simd.FLOAT, dy, dyAt + j * Float.BYTES, Simd.ORDER).mul(slope)
                    .intoMemorySegment(dx, dxAt + j * Float.BYTES, Simd.ORDER);
        }
        for (; j < n; j++) {
            float v = x.get(FLOAT, xAt + j * Float.BYTES);
            float z = FloatMath.exp(-Math.abs(v));
            float inverse = 1 / (z + 1);
            float zInverse = z * inverse;
            float slope = Math.fma(v, v < 0 ? inverse : zInverse, 1) * (v < 0 ? zInverse : inverse);
            dx.set(FLOAT, dxAt + j * Float.BYTES, dy.get(FLOAT, dyAt + j * Float.BYTES) * slope);
        }
    }

    private static void sigmoid(MemorySegment x, long xAt, MemorySegment y, long yAt, long n) {
        for (long j = 0; j < n; j += Simd.LANES) {
            FloatVector v = load(x, xAt, j, n);
            FloatVector z = VectorMath.exp(v.abs().neg());
            FloatVector one = FloatVector.broadcast(Simd.FLOAT, 1);
            store(one.blend(z, v.lt(0)).div(z.add(1)), y, yAt, j, n);
        }
    }

    /** dy σ(x) σ(-x) = dy z / (1 + z)². */
    private static void sigmoidBackward(MemorySegment x, long xAt, MemorySegment dy, long dyAt, MemorySegment dx,
            long dxAt, long n) {
        for (long j = 0; j < n; j += Simd.LANES) {
            FloatVector z = VectorMath.exp(load(x, xAt, j, n).abs().neg());
            FloatVector whole = z.add(1);
            store(load(dy, dyAt, j, n).mul(z.div(whole).div(whole)), dx, dxAt, j, n);
        }
    }

    /** shift + (x for x > 0, otherwise e^x - 1). */
    private static void elu(MemorySegment x, long xAt, MemorySegment y, long yAt, long n, float shift) {
        for (long j = 0; j < n; j += Simd.LANES) {
            FloatVector v = load(x, xAt, j, n);
            FloatVector far = VectorMath.exp(v.min(0)).sub(1);
            FloatVector near = v.mul(1f / 40320).add(1f / 5040).fma(v, broadcast(1f / 720)).fma(v, broadcast(1f / 120))
                    .fma(v, broadcast(1f / 24)).fma(v, broadcast(1f / 6)).fma(v, broadcast(0.5f)).mul(v).fma(v, v);
            FloatVector negative = far.blend(near, v.compare(VectorOperators.GT, SERIES_BOUND));
            store(negative.blend(v, v.compare(VectorOperators.GT, 0)).add(shift), y, yAt, j, n);
        }
    }

    private static void eluBackward(MemorySegment x, long xAt, MemorySegment dy, long dyAt, MemorySegment dx, long dxAt,
            long n) {
        for (long j = 0; j < n; j += Simd.LANES) {
            FloatVector slope = VectorMath.exp(load(x, xAt, j, n).min(0));
            store(load(dy, dyAt, j, n).mul(slope), dx, dxAt, j, n);
        }
    }

    /** x for x > 0, otherwise slope · x. */
    private static void piecewise(MemorySegment x, long xAt, MemorySegment y, long yAt, long n, float slope) {
        for (long j = 0; j < n; j += Simd.LANES) {
            FloatVector v = load(x, xAt, j, n);
            store(v.mul(slope).blend(v, v.compare(VectorOperators.GT, 0)), y, yAt, j, n);
        }
    }

    private static void piecewiseBackward(MemorySegment x, long xAt, MemorySegment dy, long dyAt, MemorySegment dx,
            long dxAt, long n, float slope) {
        for (long j = 0; j < n; j += Simd.LANES) {
            FloatVector g = load(dy, dyAt, j, n);
            VectorMask<Float> positive = load(x, xAt, j, n).compare(VectorOperators.GT, 0);
            store(g.mul(slope).blend(g, positive), dx, dxAt, j, n);
        }
    }

    private static void exp(MemorySegment x, long xAt, MemorySegment y, long yAt, long n, float max) {
        for (long j = 0; j < n; j += Simd.LANES) {
            store(VectorMath.exp(load(x, xAt, j, n).sub(max)), y, yAt, j, n);
        }
    }

    private static void expBackward(MemorySegment x, long xAt, MemorySegment dy, long dyAt, MemorySegment dx, long dxAt,
            long n, float max) {
        for (long j = 0; j < n; j += Simd.LANES) {
            FloatVector e = VectorMath.exp(load(x, xAt, j, n).sub(max));
            store(load(dy, dyAt, j, n).mul(e), dx, dxAt, j, n);
        }
    }

    private static void sine(MemorySegment x, long xAt, MemorySegment y, long yAt, long n) {
        for (long j = 0; j < n; j += Simd.LANES) {
            store(VectorMath.sin(load(x, xAt, j, n)), y, yAt, j, n);
        }
    }

    private static void sineBackward(MemorySegment x, long xAt, MemorySegment dy, long dyAt, MemorySegment dx,
            long dxAt,
            long n) {
        for (long j = 0; j < n; j += Simd.LANES) {
            store(load(dy, dyAt, j, n).mul(VectorMath.cos(load(x, xAt, j, n))), dx, dxAt, j, n);
        }
    }

    /** A maximum is the same in any order. */
    private static float max(MemorySegment x, long xAt, long n) {
        float max = Float.NEGATIVE_INFINITY;
        for (long j = 0; j < n * Float.BYTES; j += Float.BYTES) {
            max = Math.max(max, x.get(FLOAT, xAt + j));
        }
        return max;
    }

    private static FloatVector broadcast(float x) {
        return FloatVector.broadcast(Simd.FLOAT, x);
    }

    private static FloatVector load(MemorySegment x, long at, long j, long n) {
        long byteOffset = at + j * Float.BYTES;
        return j + Simd.LANES <= n ? FloatVector.fromMemorySegment(Simd.FLOAT, x, byteOffset, Simd.ORDER)
                : FloatVector.fromMemorySegment(Simd.FLOAT, x, byteOffset, Simd.ORDER, Simd.FLOAT.indexInRange(j, n));
    }

    private static void store(FloatVector v, MemorySegment y, long at, long j, long n) {
        long byteOffset = at + j * Float.BYTES;
        if (j + Simd.LANES <= n) {
            v.intoMemorySegment(y, byteOffset, Simd.ORDER);
        } else {
            v.intoMemorySegment(y, byteOffset, Simd.ORDER, Simd.FLOAT.indexInRange(j, n));
        }
    }

    /** Whether the heads of a token lie one after the other, so that a token is one row. */
    private static boolean adjacent(Tensor x) {
        return x.dim(1) == 1 || x.stride(1) == x.dim(2);
    }

    private static long at(Tensor x, long t, long h) {
        return x.byteOffset() + (t * x.stride(0) + h * x.stride(1)) * Float.BYTES;
    }

    private static void check(String role, Tensor t, Tensor x) {
        Arguments.shape("activation", role, t, x.shape());
        Arguments.f32("activation", role, t);
    }
}
