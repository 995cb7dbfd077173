package org.transnormer.cli;

import com.sun.management.OperatingSystemMXBean;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import org.transnormer.EnvironmentException;
import org.transnormer.bench.ProcessMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;

/** The memory plan as it is printed before the first step, and what became of it. */
record MemoryReport(MemoryPlan plan) {
    /**
     * What the Java machine itself takes, started as {@code bin/tnl} does: peaks of training runs, less their tensors, were
     * 189 to 205 MiB, of which up to 50 are the compiler's while it works, 16 the young heap, the rest code and classes.
     */
    private static final long JVM = 198L << 20;

    /**
     * Refuses what cannot work before anything is taken: the system would end the process without a word.
     *
     * @throws EnvironmentException if the machine has less memory than the plan
     */
    void check() {
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        if (planned() > system.getTotalMemorySize()) {
            throw new EnvironmentException("this needs %s of memory, the machine has %s".formatted(
                    mebibytes(planned()), mebibytes(system.getTotalMemorySize())),
                    "make --batch, --sequence or the model smaller");
        }
    }

    void print(PrintWriter out) {
        StringBuilder line = new StringBuilder("memory:");
        for (MemoryKind kind : MemoryKind.values()) {
            if (plan.bytes(kind) > 0) {
                line.append(" %s %s,".formatted(kind.label(), mebibytes(plan.bytes(kind))));
            }
        }
        out.println(line.append(" jvm %s; together %s".formatted(mebibytes(JVM), mebibytes(planned()))));
    }

    /** What the process took at most, beside what was planned; nothing where the system does not tell. */
    void printPeak(PrintWriter out) {
        ProcessMemory.peak().ifPresent(peak -> out.printf("peak memory: %s, planned %s%n", mebibytes(peak),
                mebibytes(planned())));
    }

    private long planned() {
        return plan.total() + JVM;
    }

    private static String mebibytes(long bytes) {
        return "%,.1f MiB".formatted(bytes / (double) (1 << 20));
    }
}
