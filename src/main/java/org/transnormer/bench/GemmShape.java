package org.transnormer.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * A product as a layer runs it.
 *
 * @param tokens T
 * @param in I, columns of w
 * @param out O, rows of w
 */
public record GemmShape(Direction direction, long tokens, long in, long out) {

    /** Which of the three calls of {@link org.transnormer.linear.Linear}. */
    public enum Direction {
        /** y = x · wᵀ. */
        FORWARD,
        /** dx = dy · w. */
        BACKWARD_INPUT,
        /** dw = dyᵀ · x. */
        BACKWARD_WEIGHT
    }

    /** Multiplications and additions. */
    public double flops() {
        return 2.0 * tokens * in * out;
    }

    /** The square that everyone quotes, in all three directions. */
    public static List<GemmShape> square() {
        return List.of(new GemmShape(Direction.FORWARD, 1024, 1024, 1024),
                new GemmShape(Direction.BACKWARD_INPUT, 1024, 1024, 1024),
                new GemmShape(Direction.BACKWARD_WEIGHT, 1024, 1024, 1024));
    }

    /** The projections of a layer (qkvu, out, W1|W2, W3) and of the head, in all three directions. */
    public static List<GemmShape> layer(long tokens, long width, long glu, long vocabulary) {
        long[][] maps = {{width, 4 * width}, {width, width}, {width, 2 * glu}, {glu, width}, {width, vocabulary}};
        return Arrays.stream(maps).flatMap(map -> Arrays.stream(Direction.values())
                .map(direction -> new GemmShape(direction, tokens, map[0], map[1]))).toList();
    }

    @Override
    public String toString() {
        return "%s T=%d %d->%d".formatted(direction.name().toLowerCase(Locale.ROOT).replace('_', ' '), tokens,
                in, out);
    }
}
