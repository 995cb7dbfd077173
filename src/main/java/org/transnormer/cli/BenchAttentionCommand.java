package org.transnormer.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.bench.AttentionBench;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tnl bench attention}. */
@Command(name = "attention", mixinStandardHelpOptions = true, sortOptions = false, abbreviateSynopsis = true,
        description = "Lightning Attention on as many sequences as have the longest one's tokens: the time per token does not grow "
                + "with their length.")
final class BenchAttentionCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(names = "--sequence", paramLabel = "N", split = ",",
            description = "lengths in tokens; default ${DEFAULT-VALUE}", defaultValue = "1024,4096,16384,65536")
    private List<Long> lengths;

    @Option(names = "--heads", paramLabel = "N", description = "default ${DEFAULT-VALUE}", defaultValue = "4")
    private int heads;

    @Option(names = "--head-dim", paramLabel = "N", description = "channels per head; default ${DEFAULT-VALUE}",
            defaultValue = "64")
    private int headDim;

    @Mixin
    private BenchOptions options;

    @Override
    public Integer call() {
        List<AttentionBench.Result> results = new AttentionBench(heads, headDim).run(lengths, options.backend().kind(),
                options.backend().precision(), options.backend().threads(), options.seconds());
        AttentionBench.Result first = results.getFirst();
        List<List<Object>> rows = new ArrayList<>();
        for (AttentionBench.Result r : results) {
            double forward = r.perToken(r.forward());
            double both = r.perToken(r.both());
            rows.add(
                    BenchReport.row(r.tokens(), r.sequences(), forward, forward / first.perToken(first.forward()), both,
                            both / first.perToken(first.both()), r.forward().rounds(), r.both().rounds()));
        }
        BenchReport report = new BenchReport("attention", options).set("heads", heads).set("head dim", headDim);
        report.table("lengths",
                BenchReport.columns("tokens", "%,d", "sequences", "%,d", "forward ns/token", "%,.1f", "ratio", "%.2f",
                        "forward and backward ns/token", "%,.1f", "ratio of both", "%.2f", "rounds", "%,d",
                        "rounds of both",
                        "%,d"),
                rows);
        report.print(spec.commandLine().getOut(), options.json());
        return ExitCode.OK;
    }
}
