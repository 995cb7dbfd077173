package org.transnormer.launch;

import java.time.Duration;
import java.util.Map;
import org.transnormer.InputException;

/**
 * How long the ranks of a job wait for each other. SPEC section 7.4.
 *
 * @param meeting until all have come
 * @param handshake until one who connects has said who it is
 * @param beat between two signs of life
 * @param silence without a sign of life
 * @param step the least that a step may take before it counts as hung
 */
record Timings(Duration meeting, Duration handshake, Duration beat, Duration silence, Duration step) {
    static final String VARIABLE = "TNL_MEETING_SECONDS";
    /** A step may take this many times as long as most do. */
    static final int MEDIANS = 5;
    private static final int DEFAULT_MEETING = 300;

    static Timings of(Map<String, String> environment) {
        String text = environment.getOrDefault(VARIABLE, "").strip();
        return new Timings(Duration.ofSeconds(text.isEmpty() ? DEFAULT_MEETING : seconds(text)),
                Duration.ofSeconds(10), Duration.ofSeconds(1), Duration.ofSeconds(10), Duration.ofSeconds(30));
    }

    private static int seconds(String text) {
        try {
            int seconds = Integer.parseInt(text);
            if (seconds > 0) {
                return seconds;
            }
        } catch (NumberFormatException e) {
            // Said below.
        }
        throw new InputException(VARIABLE, "is '%s', which is no whole number of seconds".formatted(text),
                "give how long ranks wait for each other at the start");
    }
}
