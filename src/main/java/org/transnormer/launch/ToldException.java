package org.transnormer.launch;

import org.transnormer.EnvironmentException;

/** Another rank could not do its part, told so, and ends the job itself: who gets this need not, unless that does not. */
public final class ToldException extends EnvironmentException {
    private static final long serialVersionUID = 1L;

    /**
     * @param rank the other one
     * @param why in its words, with the cure
     */
    public ToldException(int rank, String why) {
        super("rank %d: %s".formatted(rank, why), "so no rank goes on");
    }
}
