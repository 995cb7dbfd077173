package org.transnormer.parallel;

/** A collective that could not be completed, and the rank to blame. */
public final class RankException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int rank;

    /** @param message names the rank */
    RankException(int rank, String message, Throwable cause) {
        super(message, cause);
        this.rank = rank;
    }

    /** The rank that failed, is missing, or differs from the others. */
    public int rank() {
        return rank;
    }
}
