package org.transnormer.cli;

import java.io.PrintWriter;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;

/** The memory plan as it is printed before the first step. */
record MemoryReport(MemoryPlan plan) {
    /** What the Java machine itself comes to in a long run: code, classes, compiled code, heap. */
    private static final long JVM = 150L << 20;

    void print(PrintWriter out) {
        StringBuilder line = new StringBuilder("memory:");
        for (MemoryKind kind : MemoryKind.values()) {
            if (plan.bytes(kind) > 0) {
                line.append(" %s %s,".formatted(kind.label(), mebibytes(plan.bytes(kind))));
            }
        }
        out.println(line.append(" jvm %s; together %s".formatted(mebibytes(JVM), mebibytes(plan.total() + JVM))));
    }

    private static String mebibytes(long bytes) {
        return "%,.1f MiB".formatted(bytes / (double) (1 << 20));
    }
}
