package org.transnormer.launch;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.transnormer.EnvironmentException;

/**
 * Starts the ranks of this machine, each a process with the same command line, and ends when they have. Rank 0 has the
 * terminal; what others say is shown line by line with their number. If one ends badly, the rest end too. SPEC section
 * 7.4.
 */
public final class LocalRanks {
    /** In which those that have met end by themselves when one of them is gone, and say why. */
    private static final long GRACE_SECONDS = 4;
    /** In which those that are told to end save what they have. */
    private static final long SAVING_SECONDS = 150;
    private static final long POLL_MILLIS = 100;
    private static final int TRIES = 100;

    /** A process that has ended. */
    private record Ended(int local, int status) {
        /** Java gives a process that a signal killed 128 and its number. */
        boolean killed() {
            return status > 128 && status != 130 && status != RankedJob.TERMINATED;
        }
    }

    private final List<Rank> ranks;
    private final List<Process> processes = new ArrayList<>();
    private final List<Thread> voices = new ArrayList<>();
    private final BlockingQueue<Ended> ended = new LinkedBlockingQueue<>();
    private final PrintStream err;
    private volatile boolean stopping;

    private LocalRanks(List<Rank> ranks, PrintStream err) {
        this.ranks = ranks;
        this.err = err;
    }

    /** Whether what started this process says which of this machine's processes it is: then it starts none. */
    public static boolean isRank(Map<String, String> environment) {
        Rank rank = Rank.of(environment);
        return rank.size() > 1 && (rank.starter() == Rank.Starter.SLURM
                || !environment.getOrDefault(Rank.LOCAL_RANK, "").isBlank());
    }

    /**
     * Runs a command as several ranks.
     *
     * @param count processes to start here
     * @param command program and arguments
     * @param environment of this process: one that says it is a rank without a local rank stands for a machine
     * @return with which status to end: the one of the rank that ended first of those that ended badly
     */
    public static int run(int count, List<String> command, Map<String, String> environment) throws IOException {
        Timings.of(environment);
        LocalRanks all = new LocalRanks(ranks(count, environment), System.err);
        Thread onExit = new Thread(all::stop, "tnl-stop-ranks");
        Runtime.getRuntime().addShutdownHook(onExit);
        try {
            String secret = environment.getOrDefault(Secret.VARIABLE, "");
            all.start(command, secret.isEmpty() && all.ranks.getFirst().size() == count ? Secret.random() : secret);
            return all.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return RankedJob.TERMINATED;
        } finally {
            all.processes.forEach(Process::destroyForcibly);
        }
    }

    static List<Rank> ranks(int count, Map<String, String> environment) {
        Rank outer = Rank.of(environment);
        List<Rank> ranks = new ArrayList<>();
        int port = outer.size() == 1 ? freePort() : outer.port();
        String address = outer.size() == 1 ? "127.0.0.1" : outer.address();
        for (int i = 0; i < count; i++) {
            ranks.add(new Rank(outer.rank() * count + i, outer.size() * count, i, count, address, port,
                    Rank.Starter.TORCHRUN));
        }
        return ranks;
    }

    /** Below those that the system gives to whoever connects, so that it stays free until rank 0 listens. */
    private static int freePort() {
        SplittableRandom random = new SplittableRandom();
        for (int i = 0; i < TRIES; i++) {
            int port = Rank.FIRST_PORT + random.nextInt(Rank.PORTS);
            try (ServerSocket probe = new ServerSocket()) {
                probe.bind(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port));
                return port;
            } catch (IOException e) {
                // Taken: another one.
            }
        }
        throw new EnvironmentException("found no free port from %d to %d".formatted(Rank.FIRST_PORT,
                Rank.FIRST_PORT + Rank.PORTS), "name one in MASTER_PORT");
    }

    private void start(List<String> command, String secret) throws IOException {
        for (Rank rank : ranks) {
            ProcessBuilder builder = new ProcessBuilder(command);
            builder.environment().putAll(variables(rank));
            builder.environment().put(Secret.VARIABLE, secret);
            builder.environment().put(RankedJob.Launcher.VARIABLE, Long.toString(ProcessHandle.current().pid()));
            boolean first = rank.localRank() == 0;
            if (first) {
                builder.inheritIO();
            } else {
                builder.redirectInput(ProcessBuilder.Redirect.from(new File(File.separatorChar == '/' ? "/dev/null"
                        : "NUL")));
            }
            synchronized (this) {
                if (stopping) {
                    return;
                }
                Process process = builder.start();
                processes.add(process);
                process.onExit().thenAccept(p -> ended.add(new Ended(rank.localRank(), p.exitValue())));
                if (!first) {
                    voices.add(voice(rank, process.inputReader(), System.out));
                    voices.add(voice(rank, process.errorReader(), err));
                }
            }
        }
    }

    static Map<String, String> variables(Rank rank) {
        Map<String, String> variables = new HashMap<>();
        variables.put(Rank.RANK, Integer.toString(rank.rank()));
        variables.put(Rank.SIZE, Integer.toString(rank.size()));
        variables.put(Rank.LOCAL_RANK, Integer.toString(rank.localRank()));
        variables.put(Rank.LOCAL_SIZE, Integer.toString(rank.localSize()));
        variables.put(Rank.ADDRESS, rank.address());
        variables.put(Rank.PORT, Integer.toString(rank.port()));
        variables.put(Rank.PORT_IN_USE, "");
        return variables;
    }

    private static Thread voice(Rank rank, BufferedReader lines, PrintStream to) {
        return Thread.ofVirtual().start(() -> {
            try (lines) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    to.println("[rank %d] %s".formatted(rank.rank(), line));
                }
            } catch (IOException e) {
                // The process is gone, and what it said is shown.
            }
        });
    }

    private int await() throws InterruptedException {
        Ended bad = null;
        long since = 0;
        boolean explained = false;
        for (int left = ranks.size(); left > 0;) {
            Ended one = ended.poll(POLL_MILLIS, TimeUnit.MILLISECONDS);
            if (one != null) {
                left--;
                explained |= bad != null && !one.killed();
            }
            if (bad == null && one != null && one.status() != 0) {
                bad = one;
                since = System.nanoTime();
            }
            if (bad != null && System.nanoTime() - since > TimeUnit.SECONDS.toNanos(stopping ? SAVING_SECONDS
                    : GRACE_SECONDS)) {
                processes.forEach(Process::destroyForcibly);
            }
        }
        for (Thread voice : voices) {
            voice.join(1_000);
        }
        return bad == null ? 0 : status(bad, explained);
    }

    /** A killed process could not say so; those that had met it have. */
    private int status(Ended bad, boolean explained) {
        if (!bad.killed()) {
            return bad.status();
        }
        if (!explained && !stopping) {
            err.println("tnl: rank %d (pid %d): ended by signal %d%s".formatted(ranks.get(bad.local()).rank(),
                    processes.get(bad.local()).pid(), bad.status() - 128, Watch.CONSEQUENCE));
        }
        return JobException.MACHINE;
    }

    /** This process is told to end: so are the ranks, which save first. */
    private void stop() {
        synchronized (this) {
            stopping = true;
            processes.forEach(Process::destroy);
        }
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(SAVING_SECONDS);
        try {
            for (Process process : processes) {
                process.waitFor(Math.max(0, deadline - System.nanoTime()), TimeUnit.NANOSECONDS);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        processes.forEach(Process::destroyForcibly);
    }
}
