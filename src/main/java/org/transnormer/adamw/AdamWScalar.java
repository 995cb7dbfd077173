package org.transnormer.adamw;

import static org.transnormer.adamw.AdamW.Scalar.CLIP;
import static org.transnormer.adamw.AdamW.Scalar.CORRECTION1;
import static org.transnormer.adamw.AdamW.Scalar.CORRECTION2;
import static org.transnormer.adamw.AdamW.Scalar.LEARNING_RATE;

import org.transnormer.tensor.Tensor;

/** The spec of SPEC section 3.9: any element types, double, one rounding on each write. */
public final class AdamWScalar implements AdamW {

    @Override
    public void step(Tensor master, Tensor weight, Tensor gradient, Tensor m, Tensor v, Constants constants,
            boolean decays, Tensor scalars) {
        AdamWArguments.step(master, weight, gradient, m, v, scalars);
        double beta1 = constants.beta1();
        double beta2 = constants.beta2();
        double lr = scalars.get(LEARNING_RATE.ordinal());
        double lambda = decays ? constants.weightDecay() : 0;
        for (long i = 0; i < master.size(); i++) {
            double g = scalars.get(CLIP.ordinal()) * gradient.getFlat(i);
            double mean = beta1 * m.getFlat(i) + (1 - beta1) * g;
            double square = beta2 * v.getFlat(i) + (1 - beta2) * g * g;
            double w = master.getFlat(i);
            w -= lr * lambda * w;
            w -= lr * (mean / scalars.get(CORRECTION1.ordinal()))
                    / (Math.sqrt(square / scalars.get(CORRECTION2.ordinal())) + constants.epsilon());
            m.setFlat(i, mean);
            v.setFlat(i, square);
            master.setFlat(i, w);
            weight.setFlat(i, master.getFlat(i));
        }
    }
}
