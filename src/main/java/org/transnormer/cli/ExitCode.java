package org.transnormer.cli;

/** What the exit status of {@code tnl} means; scripts rely on these numbers. */
public final class ExitCode {
    public static final int OK = 0;
    /** A check ran and said no: parity, gradient, golden file. */
    public static final int CHECK_FAILED = 1;
    /** A wrong command line, or an input file that is unreadable or not what it claims to be. */
    public static final int USAGE = 2;
    /** The machine: no GPU, out of memory, disk full; or a run that cannot go on, such as a NaN loss. */
    public static final int ENVIRONMENT = 3;
    /** Told to stop, after saving; also a rank that stops because another was told so. Java's own status after SIGTERM. */
    public static final int TERMINATED = 143;
    /** A bug in tnl, after which a stack trace was printed; none of the above may be read into it. */
    public static final int INTERNAL_ERROR = 70;

    private ExitCode() {}
}
