package org.transnormer.srmsnorm;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Rows;
import org.transnormer.simd.Simd;
import org.transnormer.simd.VectorSums;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * {@link RmsNorm} on F32, gate and residual included, rows in parallel; the weight's gradient in a pass of its own,
 * columns in parallel. SPEC section 3.1.
 *
 * <p>Differs from the spec in: sums over channels are F32 sums of {@link VectorSums}; r is rounded to F32 and so is each
 * product; dx is r w g - k x with k = r² · sum / width, by fused multiply-adds; dw is summed by {@link ColumnSums}. What a row needs once is computed in double. Statistics and sums may have any type.
 */
public final class RmsNormVector implements RmsNorm {
    /** Bytes of a vector. */
    private static final long STEP = 4L * Simd.LANES;

    private final Workers workers;
    private final Workspace workspace;

    public RmsNormVector(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
        ColumnSums.reserve(workers, workspace);
    }

    @Override
    public void partial(Tensor x, Tensor statistics) {
        NormArguments.partial(this, x, statistics);
        NormArguments.f32(this, x);
        Rows.run(workers, x.dim(0), x.dim(1), t -> statistics.set(t, 0,
                VectorSums.sumOfSquares(x.segment(), at(x, t), x.dim(1))));
    }

    @Override
    public void apply(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y) {
        NormArguments.apply(this, x, statistics, width, parameters, gate, y);
        Tensor w = parameters.weight();
        NormArguments.f32(this, x, w, gate, y);
        Rows.run(workers, x.dim(0), x.dim(1),
                t -> normalise(t, x, (float) reciprocal(statistics, t, width), w, gate, y));
    }

    @Override
    public void backwardPartial(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor sums) {
        NormArguments.backwardPartial(this, x, statistics, width, parameters, gate, dy, sums);
        Tensor w = parameters.weight();
        NormArguments.f32(this, x, w, gate, dy);
        long d = x.dim(1);
        Rows.run(workers, x.dim(0), d, t -> {
            double product = gate == null
                    ? VectorSums.dot(x.segment(), at(x, t), w.segment(), w.byteOffset(), dy.segment(), at(dy, t), d)
                    : VectorSums.dot(x.segment(), at(x, t), gate.segment(), at(gate, t), w.segment(), w.byteOffset(),
                            dy.segment(), at(dy, t), d);
            sums.set(t, 0, reciprocal(statistics, t, width) * product);
        });
    }

    @Override
    public void backwardApply(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters,
            Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        NormArguments.backwardApply(this, x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate,
                dparameters);
        Tensor w = parameters.weight();
        Tensor dw = dparameters.weight();
        NormArguments.f32(this, x, w, gate, dy, residual, dx, dgate, dw);
        // first, since dx may overwrite dy
        ColumnSums.add(workers, workspace, x.dim(0), dw, (t, first, columns, sum, at) -> addProducts(t, first, columns,
                x, (float) reciprocal(statistics, t, width), gate, dy, sum, at));
        Rows.run(workers, x.dim(0), x.dim(1), t -> {
            double r = reciprocal(statistics, t, width);
            float k = (float) (r * r * sums.get(t, 0) / width);
            differentiate(t, x, (float) r, k, w, gate, dy, residual, dx, dgate);
        });
    }

    /** y = w x r, or u w x r, over row t. */
    private static void normalise(long t, Tensor x, float r, Tensor weight, Tensor gate, Tensor y) {
        MemorySegment xs = x.segment();
        MemorySegment ws = weight.segment();
        MemorySegment us = gate == null ? null : gate.segment();
        MemorySegment ys = y.segment();
        long xAt = at(x, t);
        long wAt = weight.byteOffset();
        long uAt = gate == null ? 0 : at(gate, t);
        long yAt = at(y, t);
        long bytes = 4 * x.dim(1);
        long i = 0;
        for (; i + STEP <= bytes; i += STEP) {
            FloatVector n = FloatVector.fromMemorySegment(Simd.FLOAT, ws, wAt + i, Simd.ORDER)
                    .mul(FloatVector.fromMemorySegment(Simd.FLOAT, xs, xAt + i, Simd.ORDER).mul(r));
            if (us != null) {
                n = FloatVector.fromMemorySegment(Simd.FLOAT, us, uAt + i, Simd.ORDER).mul(n);
            }
            n.intoMemorySegment(ys, yAt + i, Simd.ORDER);
        }
        for (; i < bytes; i += 4) {
            float n = ws.get(Simd.ELEMENT, wAt + i) * (xs.get(Simd.ELEMENT, xAt + i) * r);
            ys.set(Simd.ELEMENT, yAt + i, us == null ? n : us.get(Simd.ELEMENT, uAt + i) * n);
        }
    }

    /** dx = residual + r w u dy - k x and dgate = w x r dy over row t, u = gate. */
    private static void differentiate(long t, Tensor x, float r, float k, Tensor weight, Tensor gate, Tensor dy,
            Tensor residual, Tensor dx, Tensor dgate) {
        MemorySegment xs = x.segment();
        MemorySegment ws = weight.segment();
        MemorySegment us = gate == null ? null : gate.segment();
        MemorySegment dys = dy.segment();
        MemorySegment rests = residual == null ? null : residual.segment();
        MemorySegment dxs = dx.segment();
        MemorySegment dus = dgate == null ? null : dgate.segment();
        long xAt = at(x, t);
        long wAt = weight.byteOffset();
        long uAt = gate == null ? 0 : at(gate, t);
        long dyAt = at(dy, t);
        long restAt = residual == null ? 0 : at(residual, t);
        long dxAt = at(dx, t);
        long duAt = dgate == null ? 0 : at(dgate, t);
        long bytes = 4 * x.dim(1);
        FloatVector rs = FloatVector.broadcast(Simd.FLOAT, r);
        FloatVector minusK = FloatVector.broadcast(Simd.FLOAT, -k);
        long i = 0;
        for (; i + STEP <= bytes; i += STEP) {
            FloatVector xv = FloatVector.fromMemorySegment(Simd.FLOAT, xs, xAt + i, Simd.ORDER);
            FloatVector g = FloatVector.fromMemorySegment(Simd.FLOAT, ws, wAt + i, Simd.ORDER)
                    .mul(FloatVector.fromMemorySegment(Simd.FLOAT, dys, dyAt + i, Simd.ORDER));
            FloatVector rest = FloatVector.zero(Simd.FLOAT);
            if (rests != null) {
                rest = FloatVector.fromMemorySegment(Simd.FLOAT, rests, restAt + i, Simd.ORDER);
            }
            if (us != null) {
                FloatVector u = FloatVector.fromMemorySegment(Simd.FLOAT, us, uAt + i, Simd.ORDER);
                g.mul(xv.mul(rs)).intoMemorySegment(dus, duAt + i, Simd.ORDER);
                g = u.mul(g);
            }
            xv.fma(minusK, g.fma(rs, rest)).intoMemorySegment(dxs, dxAt + i, Simd.ORDER);
        }
        for (; i < bytes; i += 4) {
            float xv = xs.get(Simd.ELEMENT, xAt + i);
            float g = ws.get(Simd.ELEMENT, wAt + i) * dys.get(Simd.ELEMENT, dyAt + i);
            float rest = rests == null ? 0 : rests.get(Simd.ELEMENT, restAt + i);
            if (us != null) {
                float u = us.get(Simd.ELEMENT, uAt + i);
                dus.set(Simd.ELEMENT, duAt + i, g * (xv * r));
                g = u * g;
            }
            dxs.set(Simd.ELEMENT, dxAt + i, Math.fma(xv, -k, Math.fma(g, r, rest)));
        }
    }

    /** sum += (x r) (u dy) over {@code columns} columns of row t. */
    private static void addProducts(long t, long first, long columns, Tensor x, float r, Tensor gate, Tensor dy,
            MemorySegment sum, long sumAt) {
        MemorySegment xs = x.segment();
        MemorySegment us = gate == null ? null : gate.segment();
        MemorySegment dys = dy.segment();
        long xAt = at(x, t) + 4 * first;
        long uAt = gate == null ? 0 : at(gate, t) + 4 * first;
        long dyAt = at(dy, t) + 4 * first;
        long bytes = 4 * columns;
        long i = 0;
        for (; i + STEP <= bytes; i += STEP) {
            FloatVector g = FloatVector.fromMemorySegment(Simd.FLOAT, dys, dyAt + i, Simd.ORDER);
            if (us != null) {
                g = FloatVector.fromMemorySegment(Simd.FLOAT, us, uAt + i, Simd.ORDER).mul(g);
            }
            FloatVector.fromMemorySegment(Simd.FLOAT, xs, xAt + i, Simd.ORDER).mul(r)
                    .fma(g, FloatVector.fromMemorySegment(Simd.FLOAT, sum, sumAt + i, Simd.ORDER))
                    .intoMemorySegment(sum, sumAt + i, Simd.ORDER);
        }
        for (; i < bytes; i += 4) {
            float g = dys.get(Simd.ELEMENT, dyAt + i);
            g = us == null ? g : us.get(Simd.ELEMENT, uAt + i) * g;
            sum.set(Simd.ELEMENT, sumAt + i,
                    Math.fma(xs.get(Simd.ELEMENT, xAt + i) * r, g, sum.get(Simd.ELEMENT, sumAt + i)));
        }
    }

    /** r of row t. */
    private static double reciprocal(Tensor statistics, long t, long width) {
        return 1 / Math.sqrt(statistics.get(t, 0) / width + EPSILON);
    }

    /** The byte at which row t begins. */
    private static long at(Tensor x, long t) {
        return x.byteOffset() + 4 * t * x.stride(0);
    }
}
