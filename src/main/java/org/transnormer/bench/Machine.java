package org.transnormer.bench;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.transnormer.simd.Simd;

/**
 * Where figures were taken; they mean nothing without it.
 *
 * @param processor its model
 * @param cores that this process may use
 * @param memory bytes
 * @param system name, version, architecture
 * @param java version and maker
 * @param vectorBits of the Vector API
 */
public record Machine(String processor, int cores, long memory, String system, String java, int vectorBits) {

    /** The machine that this runs on. */
    public static Machine here() {
        OperatingSystemMXBean bean = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return new Machine(model(), Runtime.getRuntime().availableProcessors(), bean.getTotalMemorySize(),
                "%s %s %s".formatted(property("os.name"), property("os.version"), property("os.arch")),
                "%s (%s)".formatted(property("java.runtime.version"), property("java.vendor")),
                Simd.FLOAT.vectorBitSize());
    }

    /** The name that Linux knows; elsewhere the architecture. */
    private static String model() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(line -> line.startsWith("model name"))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip()).findFirst()
                    .orElse(property("os.arch"));
        } catch (IOException | UncheckedIOException e) {
            return property("os.arch");
        }
    }

    private static String property(String key) {
        return System.getProperty(key, "unknown");
    }
}
