package org.transnormer.plot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

class LossPlotTest {
    private static final String TRAIN_LIGHT = "#a9c7e8";

    @Test
    void aCurveRunsFromTheLeftEdgeToTheRightAndFalls() throws Exception {
        Document svg = parse(new LossPlot("run", falling(300), Curve.EMPTY, Curve.EMPTY));
        double[] points = path(svg, TRAIN_LIGHT);
        assertThat(points[0]).isEqualTo(76);
        assertThat(points[points.length - 2]).isEqualTo(936);
        assertThat(points[1]).as("y grows downwards").isLessThan(points[points.length - 1]);
        for (int i = 0; i < points.length; i += 2) {
            assertThat(points[i]).isBetween(76.0, 936.0);
            assertThat(points[i + 1]).isBetween(64.0, 424.0);
        }
    }

    @Test
    void aMillionStepsStaySmallAndKeepTheirExtremes() throws Exception {
        Curve curve = falling(1_000_000);
        curve.values()[499_000] = 9;
        LossPlot plot = new LossPlot("long", curve, Curve.EMPTY, Curve.EMPTY);
        assertThat(plot.svg().length()).isLessThan(100_000);
        double[] y = everySecond(path(parse(plot), TRAIN_LIGHT));
        Axis axis = Axis.onTicks(curve.smallest(), 9, 7, 424, 64);
        assertThat(Arrays.stream(y).min().orElseThrow()).isCloseTo(axis.pixel(9), offset(0.06));
    }

    @Test
    void gapsAreLeftOutAndALonePointIsADot() throws Exception {
        Curve curve = falling(9);
        curve.values()[1] = Double.NaN;
        curve.values()[5] = Double.POSITIVE_INFINITY;
        Document svg = parse(new LossPlot("gaps", curve, Curve.EMPTY, Curve.EMPTY));
        String d = pathText(svg, TRAIN_LIGHT);
        assertThat(d.chars().filter(c -> c == 'M').count()).isEqualTo(3);
        assertThat(d).doesNotContain("NaN").doesNotContain("Inf");
        assertThat(d).matches("M[0-9.]+ [0-9.]+l0 0M.*");
    }

    @Test
    void heldOutPointsAreMarkedAndLastValuesNamed() throws Exception {
        Curve heldOut = new Curve(new double[] {10, 20, 30}, new double[] {3, Double.NaN, 1.23456});
        LossPlot plot = new LossPlot("run", falling(30), heldOut, falling(30));
        Document svg = parse(plot);
        assertThat(svg.getElementsByTagName("circle").getLength()).isEqualTo(2);
        assertThat(svg.getDocumentElement().getTextContent()).contains("held-out 1.235", "loss (nats per token)",
                "learning rate", "step");
    }

    @Test
    void anyTitleAndNoDataMakeAWellFormedPicture() throws Exception {
        Document svg = parse(new LossPlot("a<b & \"c\"", Curve.EMPTY, Curve.EMPTY, Curve.EMPTY));
        assertThat(svg.getElementsByTagName("title").item(0).getTextContent()).isEqualTo("a<b & \"c\"");
        assertThat(svg.getDocumentElement().getTextContent()).contains("no steps yet");
        parse(new LossPlot("one", new Curve(new double[] {1}, new double[] {5.5}), Curve.EMPTY,
                new Curve(new double[] {1}, new double[] {0})));
        parse(new LossPlot("nan", new Curve(new double[] {1}, new double[] {Double.NaN}), Curve.EMPTY, Curve.EMPTY));
    }

    @Test
    void smoothingIsTheCentredMeanAndDoesNotLagAtTheStart() {
        Curve line = new Curve(IntStream.range(0, 20).asDoubleStream().toArray(),
                IntStream.range(0, 20).asDoubleStream().map(i -> 7 - 2 * i).toArray());
        double[] smooth = line.smoothed(3).values();
        for (int i = 0; i < 17; i++) {
            assertThat(smooth[i]).isCloseTo(7 - 2 * i, offset(1e-12));
        }
        assertThat(smooth[19]).isCloseTo(7 - 2 * 17.5, offset(1e-12));
        double[] gaps = new Curve(new double[] {1, 2, 3}, new double[] {4, Double.NaN, 2}).smoothed(1).values();
        assertThat(gaps).containsExactly(4, Double.NaN, 2);
        assertThat(new Curve(new double[] {1, 2}, new double[] {3, Double.NaN}).last()).isEqualTo(3);
        assertThatThrownBy(() -> new Curve(new double[2], new double[1])).isInstanceOf(IllegalArgumentException.class);
    }

    private static Curve falling(int size) {
        return new Curve(IntStream.rangeClosed(1, size).asDoubleStream().toArray(),
                IntStream.range(0, size).mapToDouble(i -> 1.5 + 4 * Math.exp(-5.0 * i / size)).toArray());
    }

    private static Document parse(LossPlot plot) throws Exception {
        return DocumentBuilderFactory.newInstance().newDocumentBuilder()
                .parse(new ByteArrayInputStream(plot.svg().getBytes(StandardCharsets.UTF_8)));
    }

    private static String pathText(Document svg, String colour) {
        NodeList paths = svg.getElementsByTagName("path");
        return IntStream.range(0, paths.getLength()).mapToObj(i -> (Element) paths.item(i))
                .filter(path -> path.getAttribute("stroke").equals(colour)).findFirst().orElseThrow().getAttribute("d");
    }

    /** x and y of every point in turn. */
    private static double[] path(Document svg, String colour) {
        Matcher points = Pattern.compile("[ML]([0-9.]+) ([0-9.]+)").matcher(pathText(svg, colour));
        return points.results().flatMapToDouble(point -> DoubleStream
                .of(Double.parseDouble(point.group(1)), Double.parseDouble(point.group(2)))).toArray();
    }

    private static double[] everySecond(double[] points) {
        return IntStream.range(0, points.length / 2).mapToDouble(i -> points[2 * i + 1]).toArray();
    }
}
