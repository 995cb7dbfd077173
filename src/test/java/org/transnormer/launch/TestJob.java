package org.transnormer.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Real processes, and what they said. */
public final class TestJob {
    static final String SECRET = "a secret of some length";
    /** Far more than any takes: a busy machine is not a job that hangs. */
    private static final int LIMIT_SECONDS = 240;
    private final Path folder;
    private final List<Process> processes = new ArrayList<>();
    public final int port = freePort();

    public TestJob(Path folder) {
        this.folder = folder;
    }

    static int freePort() {
        for (int port = 32_000 + (int) (ProcessHandle.current().pid() % 500);; port--) {
            try (ServerSocket probe = new ServerSocket()) {
                probe.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
                return port;
            } catch (IOException e) {
                // Taken: the next.
            }
        }
    }

    /** Starts a rank as torchrun does. */
    void rank(int rank, int size, String... arguments) {
        start(TestRank.class, Map.of("RANK", "" + rank, "WORLD_SIZE", "" + size, "MASTER_ADDR", "127.0.0.1",
                "MASTER_PORT", "" + port, "TNL_SECRET", SECRET), arguments);
    }

    void ranks(int size, String... arguments) {
        for (int r = 0; r < size; r++) {
            rank(r, size, arguments);
        }
    }

    public Process start(Class<?> main, Map<String, String> environment, String... arguments) {
        try {
            ProcessBuilder builder = new ProcessBuilder(Stream.concat(command(main).stream(), Arrays.stream(arguments))
                    .toList());
            builder.environment().keySet().removeIf(name -> name.startsWith("SLURM_"));
            builder.environment().putAll(environment);
            builder.redirectOutput(out(processes.size()).toFile()).redirectError(err(processes.size()).toFile());
            processes.add(builder.start());
            return processes.getLast();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static List<String> command(Class<?> main) {
        return List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC", "--add-modules=jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED", "-cp",
                System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")), main.getName());
    }

    private Path out(int i) {
        return folder.resolve("out-" + i);
    }

    private Path err(int i) {
        return folder.resolve("err-" + i);
    }

    public String said(int i) {
        return read(out(i));
    }

    /** What a process said on standard error, but for what Java says of modules. */
    private String errors(int i) {
        return read(err(i)).replaceAll("(?m)^.*WARNING: Using incubator modules.*\n", "");
    }

    /** What all said on standard error. */
    public String errors() {
        StringBuilder all = new StringBuilder();
        for (int i = 0; i < processes.size(); i++) {
            all.append(errors(i));
        }
        return all.toString();
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Waits until a process has said something. */
    public void await(int i, String what) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_SECONDS);
        while (!said(i).contains(what)) {
            assertThat(System.nanoTime()).as(() -> what + " of process " + i + ", errors: " + errors())
                    .isLessThan(deadline);
            Thread.sleep(10);
        }
    }

    public void signal(String signal, int... which) throws IOException, InterruptedException {
        List<String> kill = new ArrayList<>(List.of("kill", "-" + signal));
        Arrays.stream(which).forEach(i -> kill.add(Long.toString(pid(i))));
        assertThat(new ProcessBuilder(kill).start().waitFor()).isZero();
    }

    public long pid(int i) {
        return processes.get(i).pid();
    }

    public int status(int i) throws InterruptedException {
        assertThat(processes.get(i).waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).as(() -> "process " + i
                + " ends; it said " + said(i) + errors()).isTrue();
        return processes.get(i).exitValue();
    }

    public List<Integer> statuses() throws InterruptedException {
        List<Integer> all = new ArrayList<>();
        for (int i = 0; i < processes.size(); i++) {
            all.add(status(i));
        }
        return all;
    }

    /** The one line that is said on standard error, by process {@code i}. */
    public void oneLine(int i, String... parts) {
        assertThat(errors().lines()).as(errors()).hasSize(1);
        assertThat(errors(i)).startsWith("tnl: ").contains(parts);
    }

    public void end() throws InterruptedException {
        for (Process process : processes) {
            process.destroyForcibly();
            process.waitFor();
        }
    }
}
