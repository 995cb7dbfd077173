package org.transnormer;

/**
 * The machine cannot do what was asked, or a run cannot go on: no GPU, a full disk, a NaN loss. The message is complete:
 * what is wrong, and the cure; the command line prints it without a stack trace and ends with
 * {@code ExitCode.ENVIRONMENT}.
 */
public class EnvironmentException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * @param what what is wrong
     * @param cure what the user can do
     */
    public EnvironmentException(String what, String cure) {
        this(what, cure, null);
    }

    /** @param cause what the system said; its message should already be part of {@code what} */
    public EnvironmentException(String what, String cure, Throwable cause) {
        super(what + "; " + cure, cause);
    }
}
