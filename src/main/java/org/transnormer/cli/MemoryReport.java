package org.transnormer.cli;

import java.io.PrintWriter;
import org.transnormer.EnvironmentException;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.bench.ProcessMemory;
import org.transnormer.parallel.Layout;
import org.transnormer.plan.Plan;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;

/**
 * The memory plan as it is printed before the first step, and what became of it.
 *
 * @param kind of the backend, which decides whose memory it is
 * @param libraries bytes that a GPU's libraries or the Java machine take beside it
 * @param capacity bytes that there are
 */
record MemoryReport(MemoryPlan plan, BackendKind kind, long libraries, long capacity) {
    /**
     * What the Java machine itself takes, started as {@code bin/tnl} does: peaks of training runs, less their tensors, were
     * 189 to 205 MiB, of which up to 50 are the compiler's while it works, 16 the young heap, the rest code and classes.
     */
    private static final long JVM = 198L << 20;

    /** @param sharers processes that share the machine's memory; a GPU each has for itself */
    static MemoryReport of(Backend planned, BackendKind kind, Layout layout, int sharers) {
        return new MemoryReport(planned.memory().plan(), kind, kind == BackendKind.CUDA ? Plan.libraries(layout) : JVM,
                planned.capacity() / (kind == BackendKind.CUDA ? 1 : sharers));
    }

    boolean fits() {
        return planned() <= capacity;
    }

    /**
     * Refuses what cannot work before anything is taken: the system would end the process without a word.
     *
     * @throws EnvironmentException if there is less memory than the plan needs
     */
    void check() {
        if (!fits()) {
            throw new EnvironmentException(onDevice()
                    ? "this needs %s of the GPU's memory, of which %s are free (%s)".formatted(mebibytes(planned()),
                            mebibytes(capacity), rows())
                    : "this needs %s of memory, the machine has %s".formatted(mebibytes(planned()),
                            mebibytes(capacity)),
                    onDevice()
                            ? "--recompute full keeps least; a smaller --batch (with --accumulate for the same step), --sequence or "
                                    + "model needs less, over several GPUs so do --sharding full and --tp (tnl plan --search), and "
                                    + "nvidia-smi lists who else uses the GPU"
                            : "make --batch, --sequence or the model smaller");
        }
    }

    void print(PrintWriter out) {
        out.println("memory: %s, %s %s; together %s%s".formatted(rows(), onDevice() ? "libraries" : "jvm",
                mebibytes(libraries), mebibytes(planned()), onDevice() ? " of the GPU's" : ""));
    }

    private String rows() {
        StringBuilder line = new StringBuilder();
        for (MemoryKind row : MemoryKind.values()) {
            if (plan.bytes(row) > 0) {
                line.append("%s%s %s".formatted(line.isEmpty() ? "" : ", ", row.label(), mebibytes(plan.bytes(row))));
            }
        }
        return line.toString();
    }

    /** What was taken at most, beside what was planned; nothing where the system does not tell. */
    void printPeak(PrintWriter out, Backend backend) {
        if (onDevice()) {
            out.printf("GPU memory: %s, planned %s%n", mebibytes(backend.deviceBytes()), mebibytes(planned()));
            return;
        }
        ProcessMemory.peak().ifPresent(peak -> out.printf("peak memory: %s, planned %s%n", mebibytes(peak),
                mebibytes(planned())));
    }

    private boolean onDevice() {
        return kind == BackendKind.CUDA;
    }

    private long planned() {
        return plan.total() + libraries;
    }

    private static String mebibytes(long bytes) {
        return "%,.1f MiB".formatted(bytes / (double) (1 << 20));
    }
}
