package org.transnormer.loss;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.transnormer.simd.DoubleSums;
import org.transnormer.simd.FloatMath;
import org.transnormer.simd.Rows;
import org.transnormer.simd.Simd;
import org.transnormer.simd.VectorMath;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Tensor;

/**
 * Vector twin; logits and dlogits F32, the numbers per token F32 or F64.
 *
 * <p>Differs from {@link CrossEntropyScalar} in: exponentials are {@link VectorMath#exp} of an F32 difference; the
 * softmax is exp times the F32 quotient scale / s. Sums run in double as in the spec, so a loss far below 1e-7 is as
 * good as the exponentials that it is made of; the target's gradient is formed in double, so that it does not cancel.
 * Tokens run in parallel and share nothing.
 */
public final class CrossEntropyVector implements CrossEntropy {
    private static final int LANES = Simd.LANES;

    private final Workers workers;
    private final double[][] partials;

    public CrossEntropyVector(Workers workers) {
        this.workers = workers;
        partials = new double[workers.threads()][DoubleSums.PARTIALS];
    }

    @Override
    public void partial(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum,
            Tensor target) {
        CrossEntropyArguments.partial(logits, targets, first, columns, max, sum, target);
        CrossEntropyArguments.float32("logits", logits);
        long tokens = logits.dim(0);
        long rows = Rows.perTask(logits.dim(1));
        workers.run(Rows.tasks(tokens, logits.dim(1)), (task, worker) -> {
            long end = Math.min(tokens, (task + 1) * rows);
            for (long t = task * rows; t < end; t++) {
                MemorySegment z = logits.segment();
                long at = row(logits, t);
                float m = max(z, at, columns);
                max.set(t, m);
                sum.set(t, sumOfExponentials(z, at, columns, m, partials[worker]));
                long i = targets.getInt(t) - first;
                target.set(t, i >= 0 && i < columns ? logits.get(t, i) : 0);
            }
        });
    }

    @Override
    public void rescale(Tensor max, Tensor globalMax, Tensor sum) {
        CrossEntropyArguments.rescale(max, globalMax, sum);
        for (long t = 0; t < sum.dim(0); t++) {
            sum.set(t, sum.get(t) * StrictMath.exp(max.get(t) - globalMax.get(t)));
        }
    }

    @Override
    public void apply(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum, Tensor target,
            Tensor scale, Tensor losses, Tensor dlogits) {
        CrossEntropyArguments.apply(logits, targets, first, columns, max, sum, target, scale, losses, dlogits);
        CrossEntropyArguments.float32("logits", logits);
        long tokens = logits.dim(0);
        for (long t = 0; t < tokens; t++) {
            losses.set(t, targets.getInt(t) == IGNORE ? 0 : StrictMath.log(sum.get(t)) + (max.get(t) - target.get(t)));
        }
        if (dlogits == null) {
            return;
        }
        CrossEntropyArguments.float32("dlogits", dlogits);
        long width = logits.dim(1);
        long rows = Rows.perTask(logits.dim(1));
        workers.run(Rows.tasks(tokens, logits.dim(1)), (task, worker) -> {
            long end = Math.min(tokens, (task + 1) * rows);
            for (long t = task * rows; t < end; t++) {
                MemorySegment dz = dlogits.segment();
                long to = row(dlogits, t);
                int y = targets.getInt(t);
                if (y == IGNORE) {
                    zero(dz, to, width);
                    continue;
                }
                double m = max.get(t);
                double s = sum.get(t);
                long i = y - first;
                boolean here = i >= 0 && i < columns;
                double atTarget = here ? scale.get(0) * ((StrictMath.exp(logits.get(t, i) - m) - s) / s) : 0;
                softmax(logits.segment(), row(logits, t), (float) m, (float) (scale.get(0) / s), dz, to, columns);
                zero(dz, to + 4 * columns, width - columns);
                if (here) {
                    dlogits.set(t, i, atTarget);
                }
            }
        });
    }

    @Override
    public void total(Tensor losses, Tensor total) {
        CrossEntropyArguments.total(losses, total);
        double sum = 0;
        for (long t = 0; t < losses.dim(0); t++) {
            sum += losses.get(t);
        }
        total.set(0, total.get(0) + sum);
    }

    private static long row(Tensor x, long t) {
        return x.byteOffset() + 4 * t * x.stride(0);
    }

    /** max z_i, in any order: it is exact. */
    private static float max(MemorySegment z, long at, long count) {
        FloatVector largest = FloatVector.broadcast(Simd.FLOAT, Float.NEGATIVE_INFINITY);
        long i = 0;
        for (; i + LANES <= count; i += LANES) {
            largest = largest.max(FloatVector.fromMemorySegment(Simd.FLOAT, z, at + 4 * i, Simd.ORDER));
        }
        float max = largest.reduceLanes(VectorOperators.MAX);
        for (; i < count; i++) {
            max = Math.max(max, z.get(Simd.ELEMENT, at + 4 * i));
        }
        return max;
    }

    /** Σ exp(z_i - m), summed as {@link DoubleSums} does. */
    private static double sumOfExponentials(MemorySegment z, long at, long count, float m, double[] partials) {
        long whole = count - count % DoubleSums.PARTIALS;
        for (int lane = 0; lane < DoubleSums.PARTIALS; lane += LANES) {
            DoubleVector low = DoubleVector.zero(DoubleSums.DOUBLE);
            DoubleVector high = DoubleVector.zero(DoubleSums.DOUBLE);
            for (long i = lane; i < whole; i += DoubleSums.PARTIALS) {
                FloatVector e = VectorMath.exp(
                        FloatVector.fromMemorySegment(Simd.FLOAT, z, at + 4 * i, Simd.ORDER).sub(m));
                low = low.add((DoubleVector) e.convert(VectorOperators.F2D, 0));
                high = high.add((DoubleVector) e.convert(VectorOperators.F2D, 1));
            }
            low.intoArray(partials, lane);
            high.intoArray(partials, lane + LANES / 2);
        }
        for (long i = whole; i < count; i++) {
            partials[(int) (i % DoubleSums.PARTIALS)] += FloatMath.exp(z.get(Simd.ELEMENT, at + 4 * i) - m);
        }
        return DoubleSums.join(partials);
    }

    /** dz_i = exp(z_i - m) · factor. */
    private static void softmax(MemorySegment z, long at, float m, float factor, MemorySegment dz, long to,
            long count) {
        long i = 0;
        for (; i + LANES <= count; i += LANES) {
            VectorMath.exp(FloatVector.fromMemorySegment(Simd.FLOAT, z, at + 4 * i, Simd.ORDER).sub(m)).mul(factor)
                    .intoMemorySegment(dz, to + 4 * i, Simd.ORDER);
        }
        for (; i < count; i++) {
            dz.set(Simd.ELEMENT, to + 4 * i, FloatMath.exp(z.get(Simd.ELEMENT, at + 4 * i) - m) * factor);
        }
    }

    private static void zero(MemorySegment x, long at, long count) {
        long i = 0;
        for (; i + LANES <= count; i += LANES) {
            FloatVector.zero(Simd.FLOAT).intoMemorySegment(x, at + 4 * i, Simd.ORDER);
        }
        for (; i < count; i++) {
            x.set(Simd.ELEMENT, at + 4 * i, 0);
        }
    }
}
