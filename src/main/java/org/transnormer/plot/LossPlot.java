package org.transnormer.plot;

import java.util.Locale;

/**
 * The loss of a run over its steps, as SVG: every step's training loss, light, and smoothed; held-out losses as points;
 * the learning rate in a panel below. SPEC section 6.4.
 *
 * @param title name of the run
 * @param train loss of each step, nats per token
 * @param heldOut loss of each evaluation, nats per token
 * @param learningRate of each step
 */
public record LossPlot(String title, Curve train, Curve heldOut, Curve learningRate) {
    private static final int WIDTH = 960;
    private static final int HEIGHT = 600;
    private static final int LEFT = 76;
    private static final int RIGHT = WIDTH - 24;
    private static final int LOSS_TOP = 64;
    private static final int LOSS_BOTTOM = 424;
    private static final int RATE_TOP = 460;
    private static final int RATE_BOTTOM = 544;
    private static final String TRAIN = "#1f5fa8";
    private static final String TRAIN_LIGHT = "#a9c7e8";
    private static final String HELD_OUT = "#d1570a";
    private static final String RATE = "#5b7f3a";
    private static final String INK = "#2b2b2b";
    private static final String GRID = "#e4e4e4";
    /** The smoothed curve is the mean over a hundredth of the steps on either side. */
    private static final int SMOOTHING = 100;

    /** The picture as text. */
    public String svg() {
        StringBuilder out = new StringBuilder();
        out.append("""
                <svg xmlns="http://www.w3.org/2000/svg" width="%1$d" height="%2$d" viewBox="0 0 %1$d %2$d" \
                font-family="Helvetica, Arial, sans-serif" font-size="13" fill="%3$s">
                <title>%4$s</title>
                <rect width="%1$d" height="%2$d" fill="white"/>
                <text x="%5$d" y="34" font-size="18" font-weight="bold">%4$s</text>
                """.formatted(WIDTH, HEIGHT, INK, escaped(title), LEFT));
        Curve smooth = train.smoothed(train.size() / SMOOTHING);
        double low = least(train.smallest(), heldOut.smallest());
        if (Double.isNaN(low)) {
            text(out, (LEFT + RIGHT) / 2.0, (LOSS_TOP + LOSS_BOTTOM) / 2.0, "middle", INK, "no steps yet");
            return out.append("</svg>\n").toString();
        }
        double high = -least(-train.largest(), -heldOut.largest());
        Axis x = Axis.ofSteps(least(first(train), first(heldOut)), -least(-end(train), -end(heldOut)), LEFT, RIGHT);
        Axis loss = Axis.onTicks(low, high, 7, LOSS_BOTTOM, LOSS_TOP);
        grid(out, x, loss, LOSS_TOP, LOSS_BOTTOM, "loss (nats per token)");
        line(out, x, loss, train, TRAIN_LIGHT, 1);
        line(out, x, loss, smooth, TRAIN, 2);
        line(out, x, loss, heldOut, HELD_OUT, 1.5);
        points(out, x, loss, heldOut);
        legend(out, smooth);
        if (!Double.isNaN(learningRate.largest())) {
            Axis rate = Axis.onTicks(0, learningRate.largest(), 3, RATE_BOTTOM, RATE_TOP);
            grid(out, x, rate, RATE_TOP, RATE_BOTTOM, "learning rate");
            line(out, x, rate, learningRate, RATE, 1.5);
        }
        int bottom = Double.isNaN(learningRate.largest()) ? LOSS_BOTTOM : RATE_BOTTOM;
        for (double tick : x.ticks()) {
            text(out, x.pixel(tick), bottom + 18, "middle", INK, x.label(tick));
        }
        text(out, (LEFT + RIGHT) / 2.0, bottom + 40, "middle", INK, "step");
        return out.append("</svg>\n").toString();
    }

    private static void grid(StringBuilder out, Axis x, Axis y, int top, int bottom, String name) {
        for (double tick : y.ticks()) {
            rule(out, LEFT, y.pixel(tick), RIGHT, y.pixel(tick), GRID);
            text(out, LEFT - 8, y.pixel(tick) + 4.5, "end", INK, y.label(tick));
        }
        for (double tick : x.ticks()) {
            rule(out, x.pixel(tick), top, x.pixel(tick), bottom, GRID);
        }
        rule(out, LEFT, bottom, RIGHT, bottom, INK);
        out.append("<text transform=\"translate(20 %s) rotate(-90)\" text-anchor=\"middle\">%s</text>\n"
                .formatted(number((top + bottom) / 2.0), name));
    }

    /**
     * A line with gaps where values are not finite. Of the points that share a pixel column only the lowest and the
     * highest are drawn, in their order: a picture of a million steps looks the same and stays small.
     */
    private static void line(StringBuilder out, Axis x, Axis y, Curve curve, String colour, double width) {
        out.append("""
                <path fill="none" stroke="%s" stroke-width="%s" stroke-linejoin="round" stroke-linecap="round" d="\
                """.formatted(colour, number(width)));
        boolean pen = false;
        for (int from = 0; from < curve.size();) {
            if (!Double.isFinite(curve.values()[from])) {
                pen = false;
                from++;
                continue;
            }
            int lowest = from;
            int highest = from;
            int to = from;
            long column = Math.round(x.pixel(curve.steps()[from]));
            while (to < curve.size() && Double.isFinite(curve.values()[to])
                    && Math.round(x.pixel(curve.steps()[to])) == column) {
                lowest = curve.values()[to] < curve.values()[lowest] ? to : lowest;
                highest = curve.values()[to] > curve.values()[highest] ? to : highest;
                to++;
            }
            pen = point(out, x, y, curve, Math.min(lowest, highest), pen);
            if (lowest != highest) {
                pen = point(out, x, y, curve, Math.max(lowest, highest), pen);
            }
            from = to;
        }
        out.append("\"/>\n");
    }

    /** Goes on to a point; the first of a stretch gets a line of no length, so that a lone point is a dot. */
    private static boolean point(StringBuilder out, Axis x, Axis y, Curve curve, int i, boolean pen) {
        out.append(pen ? 'L' : 'M').append(number(x.pixel(curve.steps()[i]))).append(' ')
                .append(number(y.pixel(curve.values()[i]))).append(pen ? "" : "l0 0");
        return true;
    }

    private static void points(StringBuilder out, Axis x, Axis y, Curve curve) {
        for (int i = 0; i < curve.size(); i++) {
            if (Double.isFinite(curve.values()[i])) {
                out.append("<circle cx=\"%s\" cy=\"%s\" r=\"3.5\" fill=\"%s\" stroke=\"white\"/>\n".formatted(
                        number(x.pixel(curve.steps()[i])), number(y.pixel(curve.values()[i])), HELD_OUT));
            }
        }
    }

    /** Names of the curves with their last values, from the upper right corner to the left. */
    private void legend(StringBuilder out, Curve smooth) {
        double right = RIGHT;
        if (heldOut.size() > 0) {
            text(out, right, 52, "end", HELD_OUT, "held-out " + value(heldOut.last()));
            right -= 124;
        }
        text(out, right, 52, "end", TRAIN, "training, smoothed " + value(smooth.last()));
    }

    private static void rule(StringBuilder out, double x1, double y1, double x2, double y2, String colour) {
        out.append("<path stroke=\"%s\" d=\"M%s %sL%s %s\"/>\n".formatted(colour, number(x1), number(y1), number(x2),
                number(y2)));
    }

    private static void text(StringBuilder out, double x, double y, String anchor, String colour, String text) {
        out.append("<text x=\"%s\" y=\"%s\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n".formatted(number(x), number(y),
                anchor, colour, escaped(text)));
    }

    /** The smaller one; a NaN gives way. */
    private static double least(double a, double b) {
        return Double.isNaN(a) ? b : Double.isNaN(b) ? a : Math.min(a, b);
    }

    private static double first(Curve curve) {
        return curve.size() == 0 ? Double.NaN : curve.steps()[0];
    }

    private static double end(Curve curve) {
        return curve.size() == 0 ? Double.NaN : curve.steps()[curve.size() - 1];
    }

    private static String value(double x) {
        return String.format(Locale.ROOT, "%.3f", x);
    }

    /** Coordinates to a tenth of a pixel, 12 rather than 12.0. */
    private static String number(double x) {
        double tenths = Math.rint(10 * x) / 10;
        return tenths == Math.rint(tenths) ? Long.toString((long) tenths) : Double.toString(tenths);
    }

    private static String escaped(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
    }
}
