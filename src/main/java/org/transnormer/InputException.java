package org.transnormer;

/**
 * Something the user gave is missing, unreadable or not what it claims to be: a path, a file, a data set, a model
 * folder. The message is complete: where, what is wrong, and the cure; the command line prints it without a stack
 * trace, as it does with any refused value.
 */
public final class InputException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    /**
     * @param where file, {@code file:line} or folder
     * @param what what is wrong with it
     * @param cure what the user can do
     */
    public InputException(String where, String what, String cure) {
        this(where, what, cure, null);
    }

    /** @param cause what the system said; its message should already be part of {@code what} */
    public InputException(String where, String what, String cure, Throwable cause) {
        super(where + ": " + what + "; " + cure, cause);
    }
}
