package org.transnormer.srmsnorm;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Rows;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * {@link LayerNorm} on F32 with F64 statistics and sums, gate and residual included, rows in parallel; the gradients of
 * weight and bias in passes of their own, columns in parallel. SPEC section 3.1.
 *
 * <p>Differs from the spec in: sums over channels, in F64, are four interleaved ones; the mean is taken off as two
 * floats, so that x̂ loses nothing where |μ| ≫ σ; r is rounded to F32 and so is each product; dw and db are summed by
 * {@link ColumnSums}. What a row needs once is computed in double.
 */
public final class LayerNormVector implements LayerNorm {
    /** Bytes of a vector. */
    private static final long STEP = 4L * Simd.LANES;

    private final Workers workers;
    private final Workspace workspace;

    public LayerNormVector(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
        ColumnSums.reserve(workers, workspace);
    }

    @Override
    public void partial(Tensor x, Tensor statistics) {
        NormArguments.partial(this, x, statistics);
        NormArguments.f32(this, x);
        Rows.run(workers, x.dim(0), x.dim(1), t -> sums(t, x, 0, 1, x, null, null, statistics));
    }

    @Override
    public void apply(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y) {
        NormArguments.apply(this, x, statistics, width, parameters, gate, y);
        NormArguments.f32(this, x, parameters.weight(), parameters.bias(), gate, y);
        Rows.run(workers, x.dim(0), x.dim(1), t -> normalise(t, x, LayerNorm.mean(statistics, t, width),
                (float) LayerNorm.reciprocalDeviation(statistics, t, width), parameters, gate, y));
    }

    @Override
    public void backwardPartial(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor sums) {
        NormArguments.backwardPartial(this, x, statistics, width, parameters, gate, dy, sums);
        NormArguments.f32(this, x, parameters.weight(), gate, dy);
        Rows.run(workers, x.dim(0), x.dim(1), t -> sums(t, x, LayerNorm.mean(statistics, t, width),
                LayerNorm.reciprocalDeviation(statistics, t, width), dy, parameters.weight(), gate, sums));
    }

    @Override
    public void backwardApply(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters,
            Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        NormArguments.backwardApply(this, x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate,
                dparameters);
        NormArguments.f32(this, x, parameters.weight(), parameters.bias(), gate, dy, residual, dx, dgate,
                dparameters.weight(), dparameters.bias());
        // first, since dx may overwrite dy
        ColumnSums.add(workers, workspace, x.dim(0), dparameters.weight(),
                (t, first, columns, sum, at) -> addProducts(t, first, columns, x, LayerNorm.mean(statistics, t, width),
                        (float) LayerNorm.reciprocalDeviation(statistics, t, width), gate, dy, sum, at));
        ColumnSums.add(workers, workspace, x.dim(0), dparameters.bias(),
                (t, first, columns, sum, at) -> addGradients(t, first, columns, gate, dy, sum, at));
        Rows.run(workers, x.dim(0), x.dim(1), t -> differentiate(t, x, LayerNorm.mean(statistics, t, width),
                LayerNorm.reciprocalDeviation(statistics, t, width), sums.get(t, 0) / width, sums.get(t, 1) / width,
                parameters, gate, dy, residual, dx, dgate));
    }

    /**
     * Σ g and Σ (x - mean) r g over row t, g = dy ⊙ weight ⊙ gate, where null is 1, in double: element j goes to partial
     * sum j mod 4.
     */
    private static void sums(long t, Tensor x, double mean, double r, Tensor dy, Tensor weight, Tensor gate,
            Tensor result) {
        MemorySegment xs = x.segment();
        MemorySegment dys = dy.segment();
        MemorySegment ws = weight == null ? null : weight.segment();
        MemorySegment us = gate == null ? null : gate.segment();
        long xAt = at(x, t);
        long dyAt = at(dy, t);
        long wAt = weight == null ? 0 : weight.byteOffset();
        long uAt = gate == null ? 0 : at(gate, t);
        long bytes = 4 * x.dim(1);
        double sum0 = 0;
        double sum1 = 0;
        double sum2 = 0;
        double sum3 = 0;
        double product0 = 0;
        double product1 = 0;
        double product2 = 0;
        double product3 = 0;
        for (long i = 0; i < bytes; i += 16) {
            double g = gradient(dys, dyAt + i, ws, wAt + i, us, uAt + i);
            sum0 += g;
            product0 += (xs.get(Simd.ELEMENT, xAt + i) - mean) * r * g;
            if (i + 4 < bytes) {
                g = gradient(dys, dyAt + i + 4, ws, wAt + i + 4, us, uAt + i + 4);
                sum1 += g;
                product1 += (xs.get(Simd.ELEMENT, xAt + i + 4) - mean) * r * g;
            }
            if (i + 8 < bytes) {
                g = gradient(dys, dyAt + i + 8, ws, wAt + i + 8, us, uAt + i + 8);
                sum2 += g;
                product2 += (xs.get(Simd.ELEMENT, xAt + i + 8) - mean) * r * g;
            }
            if (i + 12 < bytes) {
                g = gradient(dys, dyAt + i + 12, ws, wAt + i + 12, us, uAt + i + 12);
                sum3 += g;
                product3 += (xs.get(Simd.ELEMENT, xAt + i + 12) - mean) * r * g;
            }
        }
        result.set(t, 0, sum0 + sum1 + (sum2 + sum3));
        result.set(t, 1, product0 + product1 + (product2 + product3));
    }

    private static double gradient(MemorySegment dy, long dyAt, MemorySegment w, long wAt, MemorySegment u, long uAt) {
        double g = dy.get(Simd.ELEMENT, dyAt);
        g = w == null ? g : w.get(Simd.ELEMENT, wAt) * g;
        return u == null ? g : u.get(Simd.ELEMENT, uAt) * g;
    }

    /** y = w x̂ + b, or u (w x̂ + b), over row t. */
    private static void normalise(long t, Tensor x, double mean, float r, NormParameters parameters, Tensor gate,
            Tensor y) {
        MemorySegment xs = x.segment();
        MemorySegment ws = parameters.weight().segment();
        MemorySegment bs = parameters.bias().segment();
        MemorySegment us = gate == null ? null : gate.segment();
        MemorySegment ys = y.segment();
        long xAt = at(x, t);
        long wAt = parameters.weight().byteOffset();
        long bAt = parameters.bias().byteOffset();
        long uAt = gate == null ? 0 : at(gate, t);
        long yAt = at(y, t);
        long bytes = 4 * x.dim(1);
        float high = (float) mean;
        float low = (float) (mean - high);
        long i = 0;
        for (; i + STEP <= bytes; i += STEP) {
            FloatVector xHat = FloatVector.fromMemorySegment(Simd.FLOAT, xs, xAt + i, Simd.ORDER).sub(high).sub(low)
                    .mul(r);
            FloatVector n = xHat.fma(FloatVector.fromMemorySegment(Simd.FLOAT, ws, wAt + i, Simd.ORDER),
                    FloatVector.fromMemorySegment(Simd.FLOAT, bs, bAt + i, Simd.ORDER));
            if (us != null) {
                n = FloatVector.fromMemorySegment(Simd.FLOAT, us, uAt + i, Simd.ORDER).mul(n);
            }
            n.intoMemorySegment(ys, yAt + i, Simd.ORDER);
        }
        for (; i < bytes; i += 4) {
            float xHat = (xs.get(Simd.ELEMENT, xAt + i) - high - low) * r;
            float n = Math.fma(xHat, ws.get(Simd.ELEMENT, wAt + i), bs.get(Simd.ELEMENT, bAt + i));
            ys.set(Simd.ELEMENT, yAt + i, us == null ? n : us.get(Simd.ELEMENT, uAt + i) * n);
        }
    }

    /** dx = residual + r (w u dy - meanG - x̂ meanXG) and dgate = (w x̂ + b) dy over row t, u = gate. */
    private static void differentiate(long t, Tensor x, double mean, double r, double meanG, double meanXG,
            NormParameters parameters, Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate) {
        MemorySegment xs = x.segment();
        MemorySegment ws = parameters.weight().segment();
        MemorySegment bs = parameters.bias().segment();
        MemorySegment us = gate == null ? null : gate.segment();
        MemorySegment dys = dy.segment();
        MemorySegment rests = residual == null ? null : residual.segment();
        MemorySegment dxs = dx.segment();
        MemorySegment dus = dgate == null ? null : dgate.segment();
        long xAt = at(x, t);
        long wAt = parameters.weight().byteOffset();
        long bAt = parameters.bias().byteOffset();
        long uAt = gate == null ? 0 : at(gate, t);
        long dyAt = at(dy, t);
        long restAt = residual == null ? 0 : at(residual, t);
        long dxAt = at(dx, t);
        long duAt = dgate == null ? 0 : at(dgate, t);
        long bytes = 4 * x.dim(1);
        float high = (float) mean;
        float low = (float) (mean - high);
        float rf = (float) r;
        float shift = (float) (-r * meanG);
        float slope = (float) (-r * meanXG);
        FloatVector rs = FloatVector.broadcast(Simd.FLOAT, rf);
        FloatVector shifts = FloatVector.broadcast(Simd.FLOAT, shift);
        FloatVector slopes = FloatVector.broadcast(Simd.FLOAT, slope);
        long i = 0;
        for (; i + STEP <= bytes; i += STEP) {
            FloatVector xHat = FloatVector.fromMemorySegment(Simd.FLOAT, xs, xAt + i, Simd.ORDER).sub(high).sub(low)
                    .mul(rs);
            FloatVector w = FloatVector.fromMemorySegment(Simd.FLOAT, ws, wAt + i, Simd.ORDER);
            FloatVector g = FloatVector.fromMemorySegment(Simd.FLOAT, dys, dyAt + i, Simd.ORDER);
            FloatVector rest = shifts;
            if (rests != null) {
                rest = FloatVector.fromMemorySegment(Simd.FLOAT, rests, restAt + i, Simd.ORDER).add(shifts);
            }
            if (us != null) {
                FloatVector u = FloatVector.fromMemorySegment(Simd.FLOAT, us, uAt + i, Simd.ORDER);
                g.mul(xHat.fma(w, FloatVector.fromMemorySegment(Simd.FLOAT, bs, bAt + i, Simd.ORDER)))
                        .intoMemorySegment(dus, duAt + i, Simd.ORDER);
                g = u.mul(g);
            }
            xHat.fma(slopes, w.mul(g).fma(rs, rest)).intoMemorySegment(dxs, dxAt + i, Simd.ORDER);
        }
        for (; i < bytes; i += 4) {
            float xHat = (xs.get(Simd.ELEMENT, xAt + i) - high - low) * rf;
            float w = ws.get(Simd.ELEMENT, wAt + i);
            float g = dys.get(Simd.ELEMENT, dyAt + i);
            float rest = rests == null ? shift : rests.get(Simd.ELEMENT, restAt + i) + shift;
            if (us != null) {
                float u = us.get(Simd.ELEMENT, uAt + i);
                dus.set(Simd.ELEMENT, duAt + i, g * Math.fma(xHat, w, bs.get(Simd.ELEMENT, bAt + i)));
                g = u * g;
            }
            dxs.set(Simd.ELEMENT, dxAt + i, Math.fma(xHat, slope, Math.fma(w * g, rf, rest)));
        }
    }

    /** sum += x̂ (u dy) over {@code columns} columns of row t. */
    private static void addProducts(long t, long first, long columns, Tensor x, double mean, float r, Tensor gate,
            Tensor dy, MemorySegment sum, long sumAt) {
        MemorySegment xs = x.segment();
        MemorySegment us = gate == null ? null : gate.segment();
        MemorySegment dys = dy.segment();
        long xAt = at(x, t) + 4 * first;
        long uAt = gate == null ? 0 : at(gate, t) + 4 * first;
        long dyAt = at(dy, t) + 4 * first;
        long bytes = 4 * columns;
        float high = (float) mean;
        float low = (float) (mean - high);
        long i = 0;
        for (; i + STEP <= bytes; i += STEP) {
            FloatVector g = FloatVector.fromMemorySegment(Simd.FLOAT, dys, dyAt + i, Simd.ORDER);
            if (us != null) {
                g = FloatVector.fromMemorySegment(Simd.FLOAT, us, uAt + i, Simd.ORDER).mul(g);
            }
            FloatVector.fromMemorySegment(Simd.FLOAT, xs, xAt + i, Simd.ORDER).sub(high).sub(low).mul(r)
                    .fma(g, FloatVector.fromMemorySegment(Simd.FLOAT, sum, sumAt + i, Simd.ORDER))
                    .intoMemorySegment(sum, sumAt + i, Simd.ORDER);
        }
        for (; i < bytes; i += 4) {
            float g = dys.get(Simd.ELEMENT, dyAt + i);
            g = us == null ? g : us.get(Simd.ELEMENT, uAt + i) * g;
            float xHat = (xs.get(Simd.ELEMENT, xAt + i) - high - low) * r;
            sum.set(Simd.ELEMENT, sumAt + i, Math.fma(xHat, g, sum.get(Simd.ELEMENT, sumAt + i)));
        }
    }

    /** sum += u dy over {@code columns} columns of row t. */
    private static void addGradients(long t, long first, long columns, Tensor gate, Tensor dy, MemorySegment sum,
            long sumAt) {
        MemorySegment us = gate == null ? null : gate.segment();
        MemorySegment dys = dy.segment();
        long uAt = gate == null ? 0 : at(gate, t) + 4 * first;
        long dyAt = at(dy, t) + 4 * first;
        long bytes = 4 * columns;
        long i = 0;
        for (; i + STEP <= bytes; i += STEP) {
            FloatVector g = FloatVector.fromMemorySegment(Simd.FLOAT, dys, dyAt + i, Simd.ORDER);
            if (us != null) {
                g = FloatVector.fromMemorySegment(Simd.FLOAT, us, uAt + i, Simd.ORDER).mul(g);
            }
            FloatVector.fromMemorySegment(Simd.FLOAT, sum, sumAt + i, Simd.ORDER).add(g)
                    .intoMemorySegment(sum, sumAt + i, Simd.ORDER);
        }
        for (; i < bytes; i += 4) {
            float g = dys.get(Simd.ELEMENT, dyAt + i);
            g = us == null ? g : us.get(Simd.ELEMENT, uAt + i) * g;
            sum.set(Simd.ELEMENT, sumAt + i, sum.get(Simd.ELEMENT, sumAt + i) + g);
        }
    }

    /** The byte at which row t begins. */
    private static long at(Tensor x, long t) {
        return x.byteOffset() + 4 * t * x.stride(0);
    }
}
