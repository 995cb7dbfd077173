package org.transnormer.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.backend.BackendKind;
import org.transnormer.bench.DecodeBench;
import org.transnormer.bench.StepBench;
import org.transnormer.model.ModelConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tnl bench decode}. */
@Command(name = "decode", mixinStandardHelpOptions = true, sortOptions = false, abbreviateSynopsis = true,
        description = "One token after another: time and memory do not grow with the position in the text.")
final class BenchDecodeCommand implements Callable<Integer> {
    private static final double MEBI = 1 << 20;

    @Spec
    private CommandSpec spec;

    @Option(names = "--preset", paramLabel = "NAME", completionCandidates = PresetNames.class,
            description = "model shape: ${COMPLETION-CANDIDATES}; default ${DEFAULT-VALUE}", defaultValue = "tiny")
    private String preset;

    @Option(names = "--position", paramLabel = "N", split = ",",
            description = "tokens of text before; default ${DEFAULT-VALUE}", defaultValue = "100,100000")
    private List<Integer> positions;

    @Option(names = "--separate-head", description = "the head has weights of its own")
    private boolean separateHead;

    @Mixin
    private BenchOptions options;

    @Override
    public Integer call() {
        ModelConfig config = BenchOptions.config(preset, separateHead);
        List<DecodeBench.Result> results = new DecodeBench(config).run(positions, options.backend().kind(),
                options.backend().precision(), options.backend().threads(), options.seconds());
        double first = results.getFirst().token().median();
        List<List<Object>> rows = new ArrayList<>();
        for (DecodeBench.Result r : results) {
            rows.add(BenchReport.row(r.position(), r.token().median() / 1e3, r.token().median() / first,
                    1e9 / r.token().median(), r.token().rounds(), 1e9 / r.reading(), r.allocated(), r.tensors() / MEBI,
                    r.resident() / MEBI));
        }
        BenchReport report = new BenchReport("decode", options).set("preset", preset)
                .set("parameters", config.parameterCount());
        report.table("positions", BenchReport.columns("position", "%,d", "us/token", "%,.1f", "ratio", "%.2f",
                "tokens/s", "%,.0f", "tokens timed", "%,d", "prompt tokens/s", "%,.0f", "heap bytes/token", "%,.0f",
                "tensors MiB", "%,.1f", "resident MiB", "%,.1f"), rows);
        if (options.backend().kind() == BackendKind.CUDA) {
            bandwidth(report, results.getFirst());
        }
        report.print(spec.commandLine().getOut(), options.json());
        return ExitCode.OK;
    }

    private void bandwidth(BenchReport report, DecodeBench.Result r) {
        double copy = StepBench.ceilings(options.backend().kind(), options.backend().precision(),
                options.backend().threads()).bytesPerSecond();
        double rate = r.moved() / r.token().median() * 1e9;
        report.figure("MB moved per token", "%,.1f", r.moved() / 1e6);
        report.figure("GB/s", "%,.1f", rate / 1e9);
        report.figure("GB/s of a copy", "%,.1f", copy / 1e9);
        report.figure("share of a copy %", "%.1f", 100 * rate / copy);
    }
}
