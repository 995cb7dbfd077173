package org.transnormer.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * Runs one main class in Java machines that differ in vector width and in whether code is compiled. Its output, some
 * checksums of results, must be the same in all of them.
 */
public final class SameBits {
    private static final List<List<String>> MACHINES = List.of(List.of("-Dtnl.vectorBits=128"),
            List.of("-Dtnl.vectorBits=256"), List.of("-Dtnl.vectorBits=512"), List.of("-Dtnl.vectorBits=256", "-Xint"));

    private SameBits() {
    }

    /** @param program prints lines with {@link #checksum}; compares them with what {@code here} printed in this machine */
    public static void assertEverywhere(Class<?> program, String here) {
        assertThat(here).isNotBlank();
        for (List<String> machine : MACHINES) {
            assertThat(output(program, machine)).as("%s with %s", program.getSimpleName(), machine)
                    .isEqualTo(here.strip());
        }
    }

    /** Checksum of the raw values of all elements; NaNs are all alike. */
    public static String checksum(Tensor t) {
        if (t.storage() instanceof Storage.Device) {
            try (Arena arena = Arena.ofConfined()) {
                Tensor onHost = Tensor.allocate(arena, t.name(), t.dtype(), t.shape());
                onHost.copyFrom(t);
                return checksum(onHost);
            }
        }
        CRC32C crc = new CRC32C();
        for (long i = 0; i < t.size(); i++) {
            long bits = Double.doubleToLongBits(t.getFlat(i));
            for (int shift = 0; shift < 64; shift += 8) {
                crc.update((int) (bits >> shift));
            }
        }
        return "%s %08x%n".formatted(t.name(), crc.getValue());
    }

    /** What a main class prints in a Java machine of its own, which must end well; blanks around it removed. */
    public static String output(Class<?> program, List<String> options, String... arguments) {
        List<String> command = new ArrayList<>();
        command.add(ProcessHandle.current().info().command().orElseThrow());
        command.addAll(options);
        command.addAll(List.of("--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED",
                "-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path"), program.getName()));
        command.addAll(List.of(arguments));
        try {
            Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertThat(process.waitFor()).as("exit code of %s", command).isZero();
            return output.strip();
        } catch (IOException e) {
            throw new IllegalStateException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }
}
