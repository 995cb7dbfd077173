package org.transnormer.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;

/** Physical memory of this process, as Linux counts it: tensors, heap, code and the Java machine together. */
public final class ProcessMemory {
    private static final Path STATUS = Path.of("/proc/self/status");

    private ProcessMemory() {
    }

    /** Most bytes so far; empty where the system does not tell. */
    public static OptionalLong peak() {
        return read("VmHWM:");
    }

    /** Bytes now; empty where the system does not tell. */
    public static OptionalLong now() {
        return read("VmRSS:");
    }

    private static OptionalLong read(String key) {
        try {
            for (String line : Files.readAllLines(STATUS)) {
                if (line.startsWith(key)) {
                    return OptionalLong.of(Long.parseLong(line.replaceAll("\\D", "")) << 10);
                }
            }
        } catch (IOException e) {
            // no Linux
        }
        return OptionalLong.empty();
    }
}
