package org.transnormer.cli;

import java.util.Optional;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryPlan;
import picocli.CommandLine.Option;

/** Which backend computes, in which type, with how many threads. */
final class BackendOptions {

    /** What can be asked for. */
    enum Choice {
        /** CUDA where there is a GPU, else the vector backend. */
        AUTO,
        SCALAR,
        VECTOR,
        CUDA
    }

    @Option(names = "--backend", paramLabel = "NAME", description = "auto (cuda where there is a GPU, else vector; the "
            + "default), scalar (the executable spec), vector (fast on a CPU) or cuda")
    private Choice choice;

    @Option(names = "--dtype", paramLabel = "TYPE", description = "scalar: f64, f32, bf16; vector: f32, bf16 (weights "
            + "only); cuda: bf16, f32; default f32, on cuda bf16")
    private DType dtype;

    @Option(names = "--threads", paramLabel = "N", description = "threads of the vector backend; default: all cores")
    private Integer threads;

    private int sharers = 1;
    private BackendKind kind;
    private String reason;

    BackendKind kind() {
        if (kind == null) {
            choose();
        }
        return kind;
    }

    private void choose() {
        if (choice != null && choice != Choice.AUTO) {
            kind = BackendKind.valueOf(choice.name());
            reason = "asked for with --backend";
            return;
        }
        Optional<String> absence = Gpu.absence();
        kind = absence.isEmpty() ? BackendKind.CUDA : BackendKind.VECTOR;
        reason = "the fastest on this machine" + absence.map(why -> ": no GPU, since " + why).orElse("");
    }

    DType dtype() {
        return dtype != null ? dtype : kind() == BackendKind.CUDA ? DType.BF16 : DType.F32;
    }

    Precision precision() {
        return kind().precision(dtype());
    }

    int threads() {
        if (threads != null && threads < 1) {
            throw new IllegalArgumentException("--threads must be 1 or more, not " + threads);
        }
        return threads == null ? Math.max(1, Runtime.getRuntime().availableProcessors() / sharers) : threads;
    }

    /** Other processes of the same job compute on this machine too. */
    void shareCores(int processes) {
        sharers = Math.max(1, processes);
    }

    /** Whether a GPU is asked for, or taken where there is one. */
    boolean mayUseGpu() {
        return choice == null || choice == Choice.AUTO || choice == Choice.CUDA;
    }

    /** With memory that is taken as it is asked for. */
    Backend open() {
        return kind().open(precision(), threads());
    }

    /** With the memory of a plan. */
    Backend open(MemoryPlan plan) {
        return kind().open(precision(), threads(), plan);
    }

    /** Without memory, to count it. */
    Backend plan() {
        return kind().plan(precision(), threads());
    }

    /**
     * What to use where nothing was asked for: what an earlier run used.
     *
     * @throws IllegalArgumentException if another type was asked for: moments and master weights would not fit
     */
    void continueWith(BackendKind earlierKind, DType earlierType) {
        if (dtype != null && dtype != earlierType) {
            throw new IllegalArgumentException("the run computes in %s and cannot go on in %s"
                    .formatted(earlierType, dtype));
        }
        dtype = earlierType;
        if (choice == null) {
            kind = earlierKind;
            reason = "as before";
        }
    }

    /** What a command is about: used where no other backend was asked for. */
    void prefer(BackendKind own) {
        if (choice == null || choice == Choice.AUTO) {
            kind = own;
            reason = "the one that this is about";
        }
    }

    /** Which backend runs, and why. */
    String describe(Backend backend) {
        return "backend: %s; %s".formatted(backend.describe(), reason);
    }
}
