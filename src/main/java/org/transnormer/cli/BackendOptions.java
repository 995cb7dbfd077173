package org.transnormer.cli;

import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import picocli.CommandLine.Option;

/** Which backend computes, in which type, with how many threads. */
final class BackendOptions {
    @Option(names = "--backend", paramLabel = "NAME",
            description = "scalar (the executable spec), vector (fast, the default)")
    private BackendKind kind;

    @Option(names = "--dtype", paramLabel = "TYPE",
            description = "f64, f32 or bf16 on scalar; f32 or bf16 (weights only) on vector; default f32")
    private DType dtype;

    @Option(names = "--threads", paramLabel = "N", description = "threads of the vector backend; default: all cores")
    private int threads;

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
        if (threads < 0) {
            throw new IllegalArgumentException("--threads must be 1 or more, not " + threads);
        }
        return threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
    }

    Backend open(Memory memory) {
        return kind().open(precision(), memory, threads());
    }

    /** Which backend runs, and why. */
    String describe(Backend backend) {
        return "backend: %s; %s".formatted(backend.describe(),
                kind == null ? "the fastest on this machine" : "asked for with --backend");
    }
}
