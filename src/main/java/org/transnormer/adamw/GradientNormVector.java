package org.transnormer.adamw;

import org.transnormer.simd.DoubleSums;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * Vector twin; gradient F32.
 *
 * <p>Differs from {@link GradientNormScalar} in the order of the sum only: ranges of a fixed length, each summed as
 * {@link DoubleSums} does, joined in rising order. Squares of floats are exact in double, so no gradient is too large
 * or too small.
 */
public final class GradientNormVector implements GradientNorm {
    /** Elements per range, hence per task. */
    static final long RANGE = 1 << 16;

    private final Workers workers;
    private final Workspace workspace;
    private final double[][] partials;

    public GradientNormVector(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
        partials = new double[workers.threads()][DoubleSums.PARTIALS];
    }

    @Override
    public void partial(Tensor gradient, Tensor total) {
        AdamWArguments.partial(gradient, total);
        AdamWArguments.type("gradient", gradient, DType.F32);
        long size = gradient.size();
        long ranges = Math.max(1, Math.ceilDiv(size, RANGE));
        Tensor scratch = workspace.get(ranges * Double.BYTES);
        Tensor sums = Tensor.of("range sums", DType.F64, scratch.storage(),
                scratch.byteOffset() / Double.BYTES, ranges);
        workers.run(ranges, (range, worker) -> {
            long from = range * RANGE;
            sums.set(range, DoubleSums.sumOfSquares(gradient.segment(), gradient.byteOffset() + 4 * from,
                    Math.min(RANGE, size - from), partials[worker]));
        });
        double sum = 0;
        for (long range = 0; range < ranges; range++) {
            sum += sums.get(range);
        }
        total.set(0, total.get(0) + sum);
    }

    @Override
    public void apply(Tensor total, double limit, Tensor norm, Tensor clip) {
        AdamWArguments.apply(total, limit, norm, clip);
        norm.set(0, Math.sqrt(total.get(0)));
        clip.set(0, limit == 0 ? 1 : Math.min(1, limit / (norm.get(0) + EPSILON)));
    }
}
