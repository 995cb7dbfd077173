package org.transnormer.verify;

import java.util.Arrays;
import java.util.function.LongToDoubleFunction;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * The outcome of comparing one tensor, element by element. A NaN on either side alone never passes.
 *
 * @param name the tensor
 * @param ok whether every element and the RMS were within what is allowed
 * @param maxError largest |got - want|
 * @param worst row-major index of the element that comes nearest to its bound, or passes it furthest
 * @param position the same as indices per axis
 * @param got value there
 * @param want value there
 * @param allowed bound there
 * @param rmsRatio RMS(got - want) / RMS(allowed)
 * @param rmsAllowed bound on rmsRatio
 */
public record Comparison(String name, boolean ok, double maxError, long worst, String position, double got, double want,
        double allowed, double rmsRatio, double rmsAllowed) {

    /**
     * Compares got with want.
     *
     * @param allowed bound on |got - want| of the element with a row-major index; one smallest denormal of got's type is
     *     always allowed
     * @param rmsAllowed bound on RMS(got - want) / RMS(allowed)
     * @throws IllegalArgumentException if the shapes differ
     */
    public static Comparison of(String name, Tensor got, Tensor want, LongToDoubleFunction allowed, double rmsAllowed) {
        if (!Arrays.equals(got.shape(), want.shape())) {
            throw new IllegalArgumentException("%s: got shape %s, want %s".formatted(name,
                    Arrays.toString(got.shape()), Arrays.toString(want.shape())));
        }
        double denormal = smallestDenormal(got.dtype());
        long worst = 0;
        double worstRatio = -1;
        double maxError = 0;
        double sumError = 0;
        double sumAllowed = 0;
        long size = got.size();
        for (long i = 0; i < size; i++) {
            double g = got.getFlat(i);
            double w = want.getFlat(i);
            boolean same = g == w || g != g && w != w;
            double error = same ? 0 : Math.abs(g - w);
            double bound = allowed.applyAsDouble(i) + denormal;
            double ratio = same ? 0 : error <= bound ? error / bound : Double.isNaN(error) || Double.isNaN(bound)
                    ? Double.POSITIVE_INFINITY : error / bound;
            if (ratio > worstRatio) {
                worstRatio = ratio;
                worst = i;
            }
            maxError = error > maxError || Double.isNaN(error) ? error : maxError;
            sumError += error * error;
            sumAllowed += bound * bound;
        }
        double rmsRatio = sumError == 0 ? 0 : Math.sqrt(sumError / sumAllowed);
        boolean ok = size == 0 || worstRatio <= 1 && rmsRatio <= rmsAllowed;
        return size == 0 ? new Comparison(name, true, 0, 0, "[]", 0, 0, 0, 0, rmsAllowed)
                : new Comparison(name, ok, maxError, worst, position(got.shape(), worst), got.getFlat(worst),
                        want.getFlat(worst), allowed.applyAsDouble(worst) + denormal, rmsRatio, rmsAllowed);
    }

    /** |got - want| of the worst element; 0 if both are NaN. */
    public double error() {
        return got == want || Double.isNaN(got) && Double.isNaN(want) ? 0 : Math.abs(got - want);
    }

    /**
     * Passes silently or fails with the report.
     *
     * @throws AssertionError naming tensor, index, got, want, allowed
     */
    public void orThrow() {
        if (!ok) {
            throw new AssertionError(toString());
        }
    }

    @Override
    public String toString() {
        return "%s: %s at %s: got %s, want %s, error %.3g, allowed %.3g; RMS ratio %.3g, allowed %.3g".formatted(name,
                ok ? "ok" : "DIFFERS", position, got, want, error(), allowed, rmsRatio, rmsAllowed);
    }

    private static String position(long[] shape, long index) {
        long[] at = new long[shape.length];
        for (int axis = shape.length - 1; axis >= 0; axis--) {
            at[axis] = index % shape[axis];
            index /= shape[axis];
        }
        return Arrays.toString(at);
    }

    static double smallestDenormal(DType dtype) {
        return switch (dtype) {
            case F64 -> Double.MIN_VALUE;
            case F32 -> Float.MIN_VALUE;
            case BF16 -> 0x1p-133;
            case F16 -> 0x1p-24;
            case I32 -> 0;
        };
    }
}
