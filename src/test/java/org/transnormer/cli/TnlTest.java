package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;
import org.transnormer.tensor.OutOfMemoryException;
import picocli.CommandLine;
import picocli.CommandLine.Command;

class TnlTest {
    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    @Test
    void versionNamesProgramAndJava() {
        assertThat(tnl("--version")).isEqualTo(ExitCode.OK);
        assertThat(out.toString()).startsWith("tnl ").contains("Java 25");
    }

    @Test
    void helpShowsTheOptions() {
        assertThat(tnl("--help")).isEqualTo(ExitCode.OK);
        assertThat(out.toString()).contains("Usage: tnl", "--version");
        assertThat(err.toString()).isEmpty();
    }

    @Test
    void missingOrUnknownCommandIsAUsageError() {
        assertThat(tnl()).isEqualTo(ExitCode.USAGE);
        assertThat(tnl("no-such-command")).isEqualTo(ExitCode.USAGE);
        assertThat(err.toString()).contains("a command is missing", "no-such-command", "tnl --help");
    }

    @Test
    void aUsersMistakeGetsOneLineAndTheRightStatus() {
        assertFailure(new NoSuchFileException("a/config.json"), ExitCode.USAGE, "tnl: no such file: a/config.json");
        assertFailure(new UncheckedIOException(new IOException("bad header")), ExitCode.USAGE, "tnl: bad header");
        assertFailure(new IOException("No space left on device"), ExitCode.ENVIRONMENT,
                "tnl: No space left on device");
        assertFailure(new IllegalArgumentException("3 heads do not divide 100"), ExitCode.USAGE,
                "tnl: 3 heads do not divide 100");
        assertFailure(new InputException("a.txt", "is empty", "give it some text"), ExitCode.USAGE,
                "tnl: a.txt: is empty; give it some text");
        assertFailure(new EnvironmentException("no GPU", "use --device cpu"), ExitCode.ENVIRONMENT,
                "tnl: no GPU; use --device cpu");
        assertFailure(new OutOfMemoryException("2 GiB for the weights, 1 GiB free"), ExitCode.ENVIRONMENT,
                "tnl: 2 GiB for the weights, 1 GiB free");
    }

    @Test
    void numbersAreCalledNumbers() {
        assertThat(tnl("train", "--steps", "abc")).isEqualTo(ExitCode.USAGE);
        assertThat(tnl("train", "--threads", "two")).isEqualTo(ExitCode.USAGE);
        assertThat(tnl("train", "--lr", "fast")).isEqualTo(ExitCode.USAGE);
        assertThat(err.toString()).contains("'--steps': 'abc' is not a whole number\n",
                "'--threads': 'two' is not a whole number\n", "'--lr': 'fast' is not a number\n");
    }

    @Test
    void ourOwnMistakeKeepsItsStackTraceAndHasItsOwnStatus() {
        assertThat(failing(new IllegalStateException("x"))).isEqualTo(ExitCode.INTERNAL_ERROR);
        assertThat(err.toString()).contains("please report", "IllegalStateException", "\tat ");
    }

    @Test
    void anErrorDoesNotLookLikeAFailedCheck() {
        assertThat(failing(new OutOfMemoryError("Java heap space"))).isEqualTo(ExitCode.ENVIRONMENT);
        assertThat(err.toString()).contains("out of memory", "-Xmx");
        assertThat(failing(new StackOverflowError())).isEqualTo(ExitCode.INTERNAL_ERROR);
    }

    private void assertFailure(Exception thrown, int status, String line) {
        err.getBuffer().setLength(0);
        assertThat(failing(thrown)).isEqualTo(status);
        assertThat(err.toString().strip()).isEqualTo(line);
    }

    private int failing(Throwable thrown) {
        return tnl(new Failing(thrown), "fail");
    }

    private int tnl(String... args) {
        return tnl(new Failing(null), args);
    }

    private int tnl(Failing failing, String... args) {
        CommandLine tnl = Tnl.commandLine().addSubcommand(failing);
        tnl.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true));
        return Tnl.execute(tnl, args);
    }

    @Command(name = "fail")
    private record Failing(Throwable thrown) implements Callable<Integer> {
        @Override
        public Integer call() throws Exception {
            if (thrown instanceof Error error) {
                throw error;
            }
            throw (Exception) thrown;
        }
    }
}
