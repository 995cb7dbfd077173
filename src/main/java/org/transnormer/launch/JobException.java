package org.transnormer.launch;

/**
 * Why the ranks of a job cannot begin or go on together. The message is complete: who, what is wrong, and the cure.
 */
public final class JobException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    /** As for a wrong command line: the ranks were started with what cannot be. */
    static final int CONFIGURATION = 2;
    /** As for a machine that fails. */
    static final int MACHINE = 3;

    private final int status;

    /** @param status with which the processes end */
    JobException(int status, String message) {
        super(message);
        this.status = status;
    }

    /** With which the processes end. */
    public int status() {
        return status;
    }
}
