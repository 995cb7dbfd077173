package org.transnormer.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;
import org.transnormer.launch.JobException;
import org.transnormer.tensor.OutOfMemoryException;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/**
 * Turns what a command throws into a message and an exit status. A user's mistake gets one line; a stack trace is for
 * our own mistakes, where it is what a report needs. {@code -Dtnl.stacktrace=true} shows it always.
 */
final class Failures {
    private Failures() {}

    static int reportUsage(ParameterException e, String[] args) {
        CommandLine command = e.getCommandLine();
        PrintWriter err = command.getErr();
        err.println("tnl: " + e.getMessage().replaceFirst("is not an? (int|long)$", "is not a whole number")
                .replaceFirst("is not a double$", "is not a number"));
        if (!UnmatchedArgumentException.printSuggestions(e, err)) {
            err.println("Try '" + command.getCommandSpec().qualifiedName() + " --help'.");
        }
        return ExitCode.USAGE;
    }

    static int report(Throwable thrown, PrintWriter err) {
        int status = switch (thrown) {
            case UncheckedIOException e -> reportIo(e.getCause(), err);
            case IOException e -> reportIo(e, err);
            case InputException e -> line(err, e.getMessage(), ExitCode.USAGE);
            case EnvironmentException e -> line(err, e.getMessage(), ExitCode.ENVIRONMENT);
            case JobException e -> line(err, e.getMessage(), e.status());
            case OutOfMemoryException e -> line(err, e.getMessage(), ExitCode.ENVIRONMENT);
            case OutOfMemoryError e -> line(err, outOfMemory(e), ExitCode.ENVIRONMENT);
            // How the packages below refuse a value, which most often came from the command line or a config file.
            case IllegalArgumentException e -> line(err, e.getMessage(), ExitCode.USAGE);
            default -> line(err, "internal error; please report it with these lines:", ExitCode.INTERNAL_ERROR);
        };
        if (status == ExitCode.INTERNAL_ERROR || Boolean.getBoolean("tnl.stacktrace")) {
            thrown.printStackTrace(err);
        }
        err.flush();
        return status;
    }

    private static int reportIo(IOException e, PrintWriter err) {
        String text = String.valueOf(e.getMessage());
        if (text.contains("No space left on device") || text.contains("Disk quota exceeded")
                || text.contains("File too large")) {
            return line(err, text, ExitCode.ENVIRONMENT);
        }
        String message = switch (e) {
            // The messages of these three are only the path.
            case NoSuchFileException missing -> "no such file: " + missing.getFile();
            case AccessDeniedException denied -> "no permission for " + denied.getFile();
            case FileSystemException other when other.getReason() == null -> "cannot use " + other.getFile();
            default -> text;
        };
        return line(err, message, ExitCode.USAGE);
    }

    private static String outOfMemory(OutOfMemoryError e) {
        boolean heap = String.valueOf(e.getMessage()).contains("heap");
        return "out of memory: " + e.getMessage() + (heap ? "; TNL_JAVA_OPTS=-Xmx4g makes the Java heap larger" : "");
    }

    private static int line(PrintWriter err, String message, int status) {
        err.println("tnl: " + message);
        return status;
    }
}
