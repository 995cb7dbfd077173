package org.transnormer.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.tensor.DType;
import org.transnormer.verify.GoldenCase;
import org.transnormer.verify.GoldenVerifier;
import org.transnormer.verify.GoldenVerifier.Outcome;
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
    @Spec
    private CommandSpec spec;

    @Option(names = "--backend", paramLabel = "NAME",
            description = "scalar (the executable spec, the default here) or vector.")
    private BackendKind backend;

    @Option(names = "--dtype", paramLabel = "TYPE",
            description = "scalar: f64 (default), f32, bf16; vector: f32 (default), bf16 (weights only).")
    private DType dtype;

    @Option(names = "--threads", paramLabel = "N", description = "Threads of the vector backend; default: all cores.")
    private Integer threads;

    @Option(names = "--unfused",
            description = "Compute by the composed parts only; otherwise they serve where the fused path writes nothing.")
    private boolean unfused;

    @Parameters(arity = "1..*", paramLabel = "FILE",
            description = "Golden .safetensors files; those of one case are taken together.")
    private List<Path> files;

    @Override
    public Integer call() {
        BackendKind kind = backend == null ? BackendKind.SCALAR : backend;
        Precision precision = kind.precision(dtype != null ? dtype : kind.dtypes().getFirst());
        int workers = threads == null ? Runtime.getRuntime().availableProcessors() : threads;
        PrintWriter out = spec.commandLine().getOut();
        List<GoldenCase> cases = GoldenCase.read(files);
        boolean ok = true;
        try {
            for (GoldenCase golden : cases) {
                Outcome outcome =
                        GoldenVerifier.verify(golden, () -> kind.open(precision, workers), unfused);
                Report.print(outcome, out);
                ok &= outcome.ok();
            }
        } finally {
            cases.forEach(GoldenCase::close);
        }
        return ok ? ExitCode.OK : ExitCode.CHECK_FAILED;
    }
}
