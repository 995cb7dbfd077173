package org.transnormer.adamw;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Bf16Vectors;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Vector twin: one pass over memory; master, gradient and moments F32, weight F32 or BF16.
 *
 * <p>Differs from {@link AdamWScalar} in: F32 throughout, with the constants rounded to F32 and combined beforehand.
 * The moments are moved by their distance, m + (1-β₁)(g - m) and v + (1-β₂)(g² - v), which leaves them alone where
 * they have arrived: β and 1-β, each rounded, do not add up to 1. A clipped gradient beyond 1.8e19 overflows
 * v. Elements share nothing; root and quotient are correctly rounded in a vector too.
 */
public final class AdamWVector implements AdamW {
    /** Elements per task. */
    private static final long TASK = 1 << 14;
    private static final int LANES = Simd.LANES;

    private final Workers workers;

    public AdamWVector(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void step(Tensor master, Tensor weight, Tensor gradient, Tensor m, Tensor v, Constants constants,
            boolean decays, Tensor scalars) {
        AdamWArguments.step(master, weight, gradient, m, v, scalars);
        AdamWArguments.type("master", master, DType.F32);
        AdamWArguments.type("gradient", gradient, DType.F32);
        AdamWArguments.type("m", m, DType.F32);
        AdamWArguments.type("v", v, DType.F32);
        AdamWArguments.type("weight", weight, DType.F32, DType.BF16);
        double lr = scalars.get(Scalar.LEARNING_RATE.ordinal());
        float clip = (float) scalars.get(Scalar.CLIP.ordinal());
        float toward1 = (float) (1 - constants.beta1());
        float toward2 = (float) (1 - constants.beta2());
        float decay = decays ? (float) (-lr * constants.weightDecay()) : 0;
        float rate = (float) (-lr / scalars.get(Scalar.CORRECTION1.ordinal()));
        float root = (float) (1 / Math.sqrt(scalars.get(Scalar.CORRECTION2.ordinal())));
        float epsilon = (float) constants.epsilon();
        long size = master.size();
        workers.run(Math.ceilDiv(size, TASK), (task, worker) -> {
            long from = task * TASK;
            long count = Math.min(TASK, size - from);
            update(master.segment(), master.byteOffset() + 4 * from, gradient.segment(),
                    gradient.byteOffset() + 4 * from, m.segment(), m.byteOffset() + 4 * from, v.segment(),
                    v.byteOffset() + 4 * from, count, clip, toward1, toward2, decay, rate, root, epsilon);
            if (weight.dtype() == DType.BF16) {
                round(master.segment(), master.byteOffset() + 4 * from, weight.segment(),
                        weight.byteOffset() + 2 * from, count);
            } else if (!sameMemory(weight, master)) {
                MemorySegment.copy(master.segment(), master.byteOffset() + 4 * from, weight.segment(),
                        weight.byteOffset() + 4 * from, 4 * count);
            }
        });
    }

    private static boolean sameMemory(Tensor a, Tensor b) {
        return a.segment().address() + a.byteOffset() == b.segment().address() + b.byteOffset();
    }

    /** w += decay · w, then w += rate · m / (root · √v + ε). */
    private static void update(MemorySegment w, long wAt, MemorySegment g, long gAt, MemorySegment m, long mAt,
            MemorySegment v, long vAt, long count, float clip, float toward1, float toward2, float decay, float rate,
            float root, float epsilon) {
        FloatVector towards1 = FloatVector.broadcast(Simd.FLOAT, toward1);
        FloatVector towards2 = FloatVector.broadcast(Simd.FLOAT, toward2);
        FloatVector decays = FloatVector.broadcast(Simd.FLOAT, decay);
        FloatVector rates = FloatVector.broadcast(Simd.FLOAT, rate);
        FloatVector roots = FloatVector.broadcast(Simd.FLOAT, root);
        FloatVector epsilons = FloatVector.broadcast(Simd.FLOAT, epsilon);
        long i = 0;
        for (; i + LANES <= count; i += LANES) {
            FloatVector gradient = FloatVector.fromMemorySegment(Simd.FLOAT, g, gAt + 4 * i, Simd.ORDER).mul(clip);
            FloatVector mean = FloatVector.fromMemorySegment(Simd.FLOAT, m, mAt + 4 * i, Simd.ORDER);
            mean = gradient.sub(mean).fma(towards1, mean);
            FloatVector square = FloatVector.fromMemorySegment(Simd.FLOAT, v, vAt + 4 * i, Simd.ORDER);
            square = gradient.fma(gradient, square.neg()).fma(towards2, square);
            FloatVector weight = FloatVector.fromMemorySegment(Simd.FLOAT, w, wAt + 4 * i, Simd.ORDER);
            weight = weight.fma(decays, weight);
            weight = mean.div(square.sqrt().fma(roots, epsilons)).fma(rates, weight);
            mean.intoMemorySegment(m, mAt + 4 * i, Simd.ORDER);
            square.intoMemorySegment(v, vAt + 4 * i, Simd.ORDER);
            weight.intoMemorySegment(w, wAt + 4 * i, Simd.ORDER);
        }
        for (; i < count; i++) {
            float gradient = g.get(Simd.ELEMENT, gAt + 4 * i) * clip;
            float mean = m.get(Simd.ELEMENT, mAt + 4 * i);
            mean = Math.fma(gradient - mean, toward1, mean);
            float square = v.get(Simd.ELEMENT, vAt + 4 * i);
            square = Math.fma(Math.fma(gradient, gradient, -square), toward2, square);
            float weight = w.get(Simd.ELEMENT, wAt + 4 * i);
            weight = Math.fma(weight, decay, weight);
            weight = Math.fma(mean / Math.fma((float) Math.sqrt(square), root, epsilon), rate, weight);
            m.set(Simd.ELEMENT, mAt + 4 * i, mean);
            v.set(Simd.ELEMENT, vAt + 4 * i, square);
            w.set(Simd.ELEMENT, wAt + 4 * i, weight);
        }
    }

    /** y = x in BF16, while x is still in the cache. */
    private static void round(MemorySegment x, long xAt, MemorySegment y, long yAt, long count) {
        long i = 0;
        for (; i + LANES <= count; i += LANES) {
            Bf16Vectors.store(FloatVector.fromMemorySegment(Simd.FLOAT, x, xAt + 4 * i, Simd.ORDER), y, yAt + 2 * i);
        }
        for (; i < count; i++) {
            Bf16Vectors.set(x.get(Simd.ELEMENT, xAt + 4 * i), y, yAt + 2 * i);
        }
    }
}
