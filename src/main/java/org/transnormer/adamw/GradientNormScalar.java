package org.transnormer.adamw;

import org.transnormer.tensor.Tensor;

/** The spec of SPEC section 3.9: any element type, sums in double. */
public final class GradientNormScalar implements GradientNorm {

    @Override
    public void partial(Tensor gradient, Tensor total) {
        AdamWArguments.partial(gradient, total);
        double sum = 0;
        for (long i = 0; i < gradient.size(); i++) {
            double g = gradient.getFlat(i);
            sum += g * g;
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
