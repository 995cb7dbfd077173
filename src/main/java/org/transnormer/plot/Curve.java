package org.transnormer.plot;

import java.util.Arrays;

/** Values over steps; steps rise. Values that are not finite are gaps. Arrays are not copied. */
public record Curve(double[] steps, double[] values) {
    public static final Curve EMPTY = new Curve(new double[0], new double[0]);

    public Curve {
        if (steps.length != values.length) {
            throw new IllegalArgumentException("%d steps, %d values".formatted(steps.length, values.length));
        }
    }

    public int size() {
        return steps.length;
    }

    /**
     * Mean of the finite values from i - w to i + w, with w no more than {@code half} and than i: near the start, where
     * a loss falls fast, the mean stays centred instead of lagging. Gaps stay gaps.
     */
    public Curve smoothed(int half) {
        double[] sums = new double[size() + 1];
        int[] counts = new int[size() + 1];
        for (int i = 0; i < size(); i++) {
            boolean finite = Double.isFinite(values[i]);
            sums[i + 1] = sums[i] + (finite ? values[i] : 0);
            counts[i + 1] = counts[i] + (finite ? 1 : 0);
        }
        double[] smooth = new double[size()];
        for (int i = 0; i < size(); i++) {
            int from = i - Math.min(half, i);
            int to = Math.min(size(), i + Math.min(half, i) + 1);
            smooth[i] = Double.isFinite(values[i]) ? (sums[to] - sums[from]) / (counts[to] - counts[from]) : Double.NaN;
        }
        return new Curve(steps, smooth);
    }

    /** The last finite value, or NaN. */
    public double last() {
        for (int i = size() - 1; i >= 0; i--) {
            if (Double.isFinite(values[i])) {
                return values[i];
            }
        }
        return Double.NaN;
    }

    double smallest() {
        return Arrays.stream(values).filter(Double::isFinite).min().orElse(Double.NaN);
    }

    double largest() {
        return Arrays.stream(values).filter(Double::isFinite).max().orElse(Double.NaN);
    }
}
