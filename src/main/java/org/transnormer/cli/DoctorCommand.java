package org.transnormer.cli;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.transnormer.cuda.CudaReport;
import org.transnormer.cuda.Gpu;
import org.transnormer.simd.Simd;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code tnl doctor}: what this machine offers and what tnl makes of it. It reports and never fails. */
@Command(name = "doctor", mixinStandardHelpOptions = true,
        description = "Show what this machine offers and which backend would run.")
final class DoctorCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        line(out, "system", "%s %s, %s".formatted(property("os.name"), property("os.version"), property("os.arch")));
        line(out, "processor", "%s, %d available to tnl".formatted(processor(),
                Runtime.getRuntime().availableProcessors()));
        line(out, "memory", memory());
        line(out, "Java", "%s (%s), heap up to %s".formatted(property("java.runtime.version"), property("java.vendor"),
                gibibytes(Runtime.getRuntime().maxMemory())));
        boolean vectors = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
        line(out, "Vector API", vectors ? Vectors.describe() : "absent");
        Optional<String> absence = Gpu.absence();
        line(out, "backend", absence.isEmpty() ? "cuda: the fastest that runs here"
                : vectors ? "vector: the fastest that runs here"
                : "scalar: this Java runtime lacks the Vector API; start it with --add-modules=jdk.incubator.vector");
        out.println();
        gpu(out);
        out.flush();
        return ExitCode.OK;
    }

    private static void gpu(PrintWriter out) {
        line(out, "GPU", "what --backend cuda finds:");
        for (CudaReport.Line found : CudaReport.lines()) {
            line(out, found.key().isEmpty() ? "" : "  " + found.key(), found.value());
        }
    }

    private static void line(PrintWriter out, String key, String value) {
        out.printf("%-12s %s%n", key, value);
    }

    private static String memory() {
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return "%s, %s free".formatted(gibibytes(system.getTotalMemorySize()), gibibytes(system.getFreeMemorySize()));
    }

    /** The model name where Linux tells it. */
    private static String processor() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(x -> x.startsWith("model name")).map(x -> x.substring(x.indexOf(':') + 1).strip())
                    .findFirst().orElse(property("os.arch"));
        } catch (IOException | UncheckedIOException e) {
            return property("os.arch");
        }
    }

    private static String property(String key) {
        return System.getProperty(key, "unknown");
    }

    private static String gibibytes(long bytes) {
        return "%.1f GiB".formatted(bytes / (double) (1L << 30));
    }

    /** Loaded only where the Vector API is: without it, this class cannot be linked. */
    private static final class Vectors {
        static String describe() {
            return "%d-bit vectors of %d floats".formatted(Simd.FLOAT.vectorBitSize(), Simd.FLOAT.length());
        }
    }
}
