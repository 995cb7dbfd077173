package org.transnormer.cli;

import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryPlan;
import picocli.CommandLine.Option;

/** Which backend computes, in which type, with how many threads. */
final class BackendOptions {
    @Option(names = "--backend", paramLabel = "NAME",
            description = "scalar (the executable spec) or vector (fast, the default)")
    private BackendKind kind;

    @Option(names = "--dtype", paramLabel = "TYPE",
            description = "scalar: f64, f32, bf16; vector: f32, bf16 (weights only); default f32")
    private DType dtype;

    @Option(names = "--threads", paramLabel = "N", description = "threads of the vector backend; default: all cores")
    private Integer threads;

    private boolean continued;

    BackendKind kind() {
        return kind == null ? BackendKind.VECTOR : kind;
    }

    DType dtype() {
        return dtype == null ? DType.F32 : dtype;
    }

    Precision precision() {
        return kind().precision(dtype());
    }

    int threads() {
        if (threads != null && threads < 1) {
            throw new IllegalArgumentException("--threads must be 1 or more, not " + threads);
        }
        return threads == null ? Runtime.getRuntime().availableProcessors() : threads;
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
        continued = kind == null;
        kind = continued ? earlierKind : kind;
    }

    /** Which backend runs, and why. */
    String describe(Backend backend) {
        String reason = kind == null ? "the fastest on this machine"
                : continued ? "as before" : "asked for with --backend";
        return "backend: %s; %s".formatted(backend.describe(), reason);
    }
}
