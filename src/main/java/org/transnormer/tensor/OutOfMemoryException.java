package org.transnormer.tensor;

/** Memory could not be had. The message says what was needed, for what, and what was free. */
public final class OutOfMemoryException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public OutOfMemoryException(String message) {
        super(message);
    }
}
