package org.transnormer.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.transnormer.bench.AttentionBench;
import org.transnormer.bench.AttentionFloorBench;
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
    private static final Pattern SHAPE = Pattern.compile("([1-9][0-9]{0,5})x([1-9][0-9]{0,8})");

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

    @Option(names = "--shape", paramLabel = "BxT", split = ",",
            description = "instead: B sequences of T tokens, read from a projection as a layer does, beside a copy of the same "
                    + "bytes; such as 8x2048,1x32768")
    private List<String> shapes;

    @Mixin
    private BenchOptions options;

    @Override
    public Integer call() {
        if (shapes != null) {
            return floors();
        }
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

    private int floors() {
        List<List<Object>> rows = new ArrayList<>();
        for (AttentionFloorBench.Result r : new AttentionFloorBench(heads, headDim).run(shapes.stream()
                .map(BenchAttentionCommand::shape).toList(), options.backend().kind(), options.backend().precision(),
                options.backend().threads())) {
            rows.add(BenchReport.row(r.shape(), r.forwardFloor() / 1e6, r.forward() / 1e6,
                    r.forward() / r.forwardFloor(), r.backwardFloor() / 1e6, r.backward() / 1e6,
                    r.backward() / r.backwardFloor()));
        }
        BenchReport report = new BenchReport("attention", options).set("heads", heads).set("head dim", headDim);
        report.table("shapes", BenchReport.columns("B x T", "%s", "forward floor ms", "%.3f", "forward ms", "%.3f",
                "ratio", "%.2f", "backward floor ms", "%.3f", "backward ms", "%.3f", "ratio of backward", "%.2f"),
                rows);
        report.print(spec.commandLine().getOut(), options.json());
        return ExitCode.OK;
    }

    private static AttentionFloorBench.Shape shape(String text) {
        Matcher matcher = SHAPE.matcher(text);
        if (!matcher.matches()) {
            throw new IllegalArgumentException("--shape takes sequences x tokens, such as 8x2048, not " + text);
        }
        return new AttentionFloorBench.Shape(Integer.parseInt(matcher.group(1)), Long.parseLong(matcher.group(2)));
    }
}
