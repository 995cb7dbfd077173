package org.transnormer.loss;

import org.transnormer.tensor.Tensor;

/** The spec of SPEC section 3.8: any element types, sums in double, one rounding on write. */
public final class CrossEntropyScalar implements CrossEntropy {

    @Override
    public void partial(Tensor logits, Tensor targets, long first, long columns, Tensor max, Tensor sum,
            Tensor target) {
        CrossEntropyArguments.partial(logits, targets, first, columns, max, sum, target);
        for (long t = 0; t < logits.dim(0); t++) {
            double m = Double.NEGATIVE_INFINITY;
            for (long i = 0; i < columns; i++) {
                m = Math.max(m, logits.get(t, i));
            }
            max.set(t, m);
            double s = 0;
            for (long i = 0; i < columns; i++) {
                s += StrictMath.exp(logits.get(t, i) - max.get(t));
            }
            sum.set(t, s);
            long i = targets.getInt(t) - first;
            target.set(t, i >= 0 && i < columns ? logits.get(t, i) : 0);
        }
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
        for (long t = 0; t < logits.dim(0); t++) {
            int y = targets.getInt(t);
            losses.set(t, y == IGNORE ? 0 : StrictMath.log(sum.get(t)) + (max.get(t) - target.get(t)));
            for (long i = 0; dlogits != null && i < logits.dim(1); i++) {
                double p = StrictMath.exp(logits.get(t, i) - max.get(t)) / sum.get(t);
                double isTarget = first + i == y ? 1 : 0;
                dlogits.set(t, i, y == IGNORE || i >= columns ? 0 : scale.get(0) * (p - isTarget));
            }
        }
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
}
