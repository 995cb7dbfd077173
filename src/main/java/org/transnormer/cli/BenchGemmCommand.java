package org.transnormer.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.InputException;
import org.transnormer.backend.BackendKind;
import org.transnormer.bench.GemmBench;
import org.transnormer.bench.GemmPeer;
import org.transnormer.bench.GemmShape;
import org.transnormer.bench.OpenBlas;
import org.transnormer.model.ModelConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tnl bench gemm}. */
@Command(name = "gemm", mixinStandardHelpOptions = true, sortOptions = false, abbreviateSynopsis = true,
        description = "Matrix products of the vector backend, beside OpenBLAS in the same run where it is there.")
final class BenchGemmCommand implements Callable<Integer> {
    private static final String SYSTEM_LIBRARY = "libopenblas.so.0";

    @Spec
    private CommandSpec spec;

    @Option(names = "--size", paramLabel = "N", description = "of a square product; default ${DEFAULT-VALUE}",
            defaultValue = "1024")
    private int size;

    @Option(names = "--preset", paramLabel = "NAME", completionCandidates = PresetNames.class,
            description = "instead, the products of a model's layer and head: ${COMPLETION-CANDIDATES}")
    private String preset;

    @Option(names = "--tokens", paramLabel = "N", description = "of the model's products; default ${DEFAULT-VALUE}",
            defaultValue = "1024")
    private long tokens;

    @Option(names = "--openblas", paramLabel = "FILE",
            description = "shared library to compare with; default: the system's " + SYSTEM_LIBRARY + ", if any")
    private String library;

    @Mixin
    private BenchOptions options;

    @Override
    public Integer call() {
        options.backend().prefer(BackendKind.VECTOR);
        if (options.backend().kind() != BackendKind.VECTOR) {
            throw new IllegalArgumentException("bench gemm measures the vector backend only");
        }
        GemmPeer peer = OpenBlas.load(library == null ? SYSTEM_LIBRARY : library).orElse(null);
        if (library != null && peer == null) {
            throw new InputException(library, "is not an OpenBLAS library with the C interface", "name another one");
        }
        int rounds = options.gemmRounds();
        List<GemmBench.Result> results = GemmBench.run(shapes(), options.backend().precision().weights(),
                options.backend().threads(), rounds, peer);
        BenchReport report = new BenchReport("gemm", options).set("rounds", rounds).set("peer",
                peer == null ? "none found" : peer.name());
        List<List<Object>> rows = new ArrayList<>();
        for (GemmBench.Result r : results) {
            rows.add(BenchReport.row(r.shape().toString(), r.gflops(), r.best(), r.peerGflops(), r.peerBest(),
                    r.ratio()));
        }
        report.table("products", BenchReport.columns("product", "%s", "GFLOP/s", "%.1f", "best", "%.1f",
                "peer GFLOP/s", "%.1f", "peer best", "%.1f", "ratio", "%.2f"), rows);
        report.print(spec.commandLine().getOut(), options.json());
        return ExitCode.OK;
    }

    private List<GemmShape> shapes() {
        if (preset == null) {
            return BenchOptions.square(size);
        }
        ModelConfig config = BenchOptions.config(preset, false);
        return GemmShape.layer(tokens, config.width(), config.gluWidth(), config.paddedVocabulary());
    }
}
