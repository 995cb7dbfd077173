package org.transnormer.cli;

/** Ends a command with one line on stderr and an exit status; the message tells the user what to do. */
public final class CommandFailure extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final int exitCode;

    private CommandFailure(int exitCode, String message, Throwable cause) {
        super(message, cause);
        this.exitCode = exitCode;
    }

    public static CommandFailure usage(String message) {
        return new CommandFailure(ExitCode.USAGE, message, null);
    }

    public static CommandFailure environment(String message, Throwable cause) {
        return new CommandFailure(ExitCode.ENVIRONMENT, message, cause);
    }

    int exitCode() {
        return exitCode;
    }
}
