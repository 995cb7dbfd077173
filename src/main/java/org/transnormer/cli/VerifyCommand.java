package org.transnormer.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.EnvironmentException;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.verify.GoldenCase;
import org.transnormer.verify.GoldenVerifier;
import org.transnormer.verify.GoldenVerifier.Outcome;
import org.transnormer.verify.GoldenWriter;
import org.transnormer.verify.Report;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code tnl verify}: runs a backend over golden files and compares every tensor. SPEC section 6.5. */
@Command(name = "verify", mixinStandardHelpOptions = true,
        description = "Compare every tensor of a run with golden files of the official code.")
final class VerifyCommand implements Callable<Integer> {
    private static final int SEQUENCES = 2;

    private final long start = System.nanoTime();

    @Spec
    private CommandSpec spec;

    @Option(names = "--backend", paramLabel = "NAME",
            description = "scalar (the executable spec, the default here), vector or cuda.")
    private BackendKind backend;

    @Option(names = "--dtype", paramLabel = "TYPE",
            description = "scalar: f64 (default), f32, bf16; vector: f32 (default), bf16 (weights only); cuda: bf16 "
                    + "(default), f32.")
    private DType dtype;

    @Option(names = "--threads", paramLabel = "N", description = "Threads of the vector backend; default: all cores.")
    private Integer threads;

    @Option(names = "--unfused",
            description = "Compute by the composed parts only; otherwise they serve where the fused path writes nothing.")
    private boolean unfused;

    @Option(names = "--parity", paramLabel = "PRESET", completionCandidates = PresetNames.class,
            description = "Instead of files: a model of this shape with made weights and tokens, compared with the scalar spec "
                    + "in f64.")
    private String parity;

    @Option(names = "--tokens", paramLabel = "N", description = "Of each of two sequences of --parity; default "
            + "${DEFAULT-VALUE}.", defaultValue = "65")
    private int tokens;

    @Parameters(arity = "0..*", paramLabel = "FILE",
            description = "Golden .safetensors files; those of one case are taken together.")
    private List<Path> files = List.of();

    @Override
    public Integer call() {
        BackendKind kind = backend == null ? BackendKind.SCALAR : backend;
        Precision precision = kind.precision(dtype != null ? dtype : kind.dtypes().getFirst());
        int workers = threads == null ? Runtime.getRuntime().availableProcessors() : threads;
        if (files.isEmpty() == (parity == null)) {
            throw new IllegalArgumentException("name golden files, or a preset with --parity");
        }
        try {
            return parity == null ? verify(kind, precision, workers, files) : parity(kind, precision, workers);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private int parity(BackendKind kind, Precision precision, int workers) throws IOException {
        if (tokens < 2) {
            throw new IllegalArgumentException("--tokens must be 2 or more, not " + tokens);
        }
        ModelConfig config = BenchOptions.config(parity, false);
        checkMemory(GoldenVerifier.bytes(config, SEQUENCES, tokens, kind, precision));
        Path made = Files.createTempFile("parity", ".safetensors");
        // Where the process is told to stop, too: it may be gigabytes.
        made.toFile().deleteOnExit();
        try {
            tell("%,d made parameters, and what the spec in f64 makes of them".formatted(config.parameterCount()));
            new GoldenWriter(ReleasedConfig.toJson(config), config.tiedHead(), SEQUENCES, tokens, tokens / 2, 1)
                    .write(made);
            return verify(kind, precision, workers, List.of(made));
        } finally {
            Files.deleteIfExists(made);
        }
    }

    /** Refuses what cannot work before anything is taken: the system would end the process without a word. */
    private void checkMemory(long needed) {
        long there = HostMemory.machineBytes();
        if (needed > there) {
            throw new EnvironmentException(
                    "--parity %s with --tokens %d needs up to %,d MiB of memory, the machine has %,d"
                            .formatted(parity, tokens, needed >> 20, there >> 20),
                    "choose a smaller preset, or fewer tokens");
        }
    }

    /** Of files, which are small, nothing is told: the report is there at once. */
    private void tell(String begins) {
        if (parity != null) {
            PrintWriter err = spec.commandLine().getErr();
            err.println("parity: %d s: %s".formatted((System.nanoTime() - start) / 1_000_000_000, begins));
            err.flush();
        }
    }

    private int verify(BackendKind kind, Precision precision, int workers, List<Path> golden) {
        PrintWriter out = spec.commandLine().getOut();
        List<GoldenCase> cases = GoldenCase.read(golden);
        boolean ok = true;
        try {
            for (GoldenCase each : cases) {
                Outcome outcome =
                        GoldenVerifier.verify(each, () -> kind.open(precision, workers), unfused, this::tell);
                Report.print(outcome, out);
                ok &= outcome.ok();
            }
        } finally {
            cases.forEach(GoldenCase::close);
        }
        return ok ? ExitCode.OK : ExitCode.CHECK_FAILED;
    }
}
