package org.transnormer.plot;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * A linear axis: the values from {@code low} to {@code high} lie between the pixels {@code from} and {@code to}. Ticks
 * are multiples of {@code step}, which is 1, 2 or 5 times a power of ten.
 */
record Axis(double low, double high, double step, double from, double to) {

    /** Ends on ticks, with about {@code ticks} of them. */
    static Axis onTicks(double min, double max, int ticks, double from, double to) {
        double slack = max > min ? 0 : Math.max(Math.abs(max), 1e-9) * 0.05;
        double step = niceStep(max - min + 2 * slack, ticks);
        return new Axis(-ceil((slack - min) / step) * step, ceil((max + slack) / step) * step, step, from, to);
    }

    /** From the first step to the last; ticks are whole steps. */
    static Axis ofSteps(double first, double last, double from, double to) {
        double end = Math.max(last, first + 1);
        return new Axis(first, end, Math.max(1, niceStep(end - first, 8)), from, to);
    }

    double pixel(double value) {
        return from + (value - low) / (high - low) * (to - from);
    }

    /** Multiples of the step within the axis. */
    List<Double> ticks() {
        List<Double> ticks = new ArrayList<>();
        long last = (long) -ceil(-high / step);
        for (long i = (long) ceil(low / step); i <= last; i++) {
            ticks.add(i * step);
        }
        return ticks;
    }

    /** A tick's label, with as many digits as neighbours need to differ: 1.25, 20k, 3e-4. */
    String label(double tick) {
        double largest = Math.max(Math.abs(low), Math.abs(high));
        if (Math.abs(tick) < step / 2) {
            return "0";
        }
        if (largest < 0.01) {
            int exponent = (int) Math.floor(Math.log10(Math.abs(tick)) + 1e-9);
            String digits = trimmed(tick / Math.pow(10, exponent), decimals(step / Math.pow(10, exponent)));
            return digits + "e" + exponent;
        }
        if (step >= 1e6) {
            return trimmed(tick / 1e6, decimals(step / 1e6)) + "M";
        }
        if (largest >= 1e4) {
            return trimmed(tick / 1e3, decimals(step / 1e3)) + "k";
        }
        return String.format(Locale.ROOT, "%." + decimals(step) + "f", tick);
    }

    /** The next whole number; one that rounding alone has moved stays what it is. */
    private static double ceil(double x) {
        double whole = Math.rint(x);
        return Math.abs(x - whole) <= 1e-9 + 4 * Math.ulp(x) ? whole : Math.ceil(x);
    }

    private static double niceStep(double span, int ticks) {
        double power = Math.pow(10, Math.floor(Math.log10(span / ticks)));
        double lead = span / ticks / power;
        return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
    }

    private static int decimals(double step) {
        return Math.max(0, (int) Math.ceil(-Math.log10(step) - 1e-9));
    }

    private static String trimmed(double x, int decimals) {
        String text = String.format(Locale.ROOT, "%." + decimals + "f", x);
        return decimals == 0 ? text : text.replaceAll("0+$", "").replaceAll("\\.$", "");
    }
}
