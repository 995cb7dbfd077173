package org.transnormer.verify;

import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * How far a result may lie from the spec's: per element |got - want| ≤ c · u · Σ|terms|, and per tensor RMS(got - want) ≤
 * rms · u · RMS(Σ|terms|), u the unit roundoff of the coarsest type involved. The first catches one wrong element, the
 * second everything slightly off; of fewer than {@link #RMS_ELEMENTS} elements it would say no more than the first and does
 * not apply. SPEC section 1.4.
 *
 * @param c factor per element
 * @param rms factor per tensor
 */
public record Tolerance(double c, double rms) {
    /** Elements from which on errors of a tensor average out. */
    static final long RMS_ELEMENTS = 64;

    /**
     * Compares a tensor with the spec's.
     *
     * @param name what the report calls it
     * @param magnitude Σ|terms| of each element, same shape; null: |want|
     * @param unitRoundoff u
     */
    public Comparison compare(String name, Tensor got, Tensor want, Tensor magnitude, double unitRoundoff) {
        double denormal = Comparison.smallestDenormal(got.dtype());
        return Comparison.of(name, got, want, i -> {
            double terms = Math.abs((magnitude == null ? want : magnitude).getFlat(i));
            // below the normal range each of the c roundings may err by a denormal
            return c * Math.max(unitRoundoff * terms, terms < Float.MIN_NORMAL ? denormal : 0);
        }, got.size() < RMS_ELEMENTS ? 1 : rms / c);
    }

    /**
     * What becomes of a bound on F32 arithmetic where the results are stored in this type, and compared with its u: one
     * rounding, and the others scaled to it. The same for F32 and wider.
     */
    public Tolerance stored(DType type) {
        double scale = DType.F32.unitRoundoff() / type.unitRoundoff();
        return scale >= 1 ? this : new Tolerance(1 + c * scale, 1 + rms * scale);
    }
}
