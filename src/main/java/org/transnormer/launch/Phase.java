package org.transnormer.launch;

import java.time.Duration;

/** What a rank is doing. All but steps are announced, and may take long: while one rank does such, no step is hung. */
public enum Phase {
    STARTING("starting", Duration.ofMinutes(30)),
    /** Kernels are compiled, memory is touched, connections are made. */
    FIRST_STEP("doing its first step", Duration.ofMinutes(15)),
    STEP("at a step", null),
    EVALUATING("evaluating", Duration.ofHours(1)),
    SAVING("saving", Duration.ofHours(1)),
    ENDING("ending", Duration.ofHours(1));

    private final String text;
    private final Duration limit;

    Phase(String text, Duration limit) {
        this.text = text;
        this.limit = limit;
    }

    /** In a sentence about a rank. */
    String text() {
        return text;
    }

    /** How long it may take; none where that depends on how long it took before. */
    Duration limit() {
        return limit;
    }
}
