package org.transnormer.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.bench.Ceilings;
import org.transnormer.bench.GemmBench;
import org.transnormer.bench.ProcessMemory;
import org.transnormer.bench.StepBench;
import org.transnormer.bench.Timing;
import org.transnormer.launch.Job;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tnl bench step}. */
@Command(name = "step", mixinStandardHelpOptions = true, sortOptions = false, abbreviateSynopsis = true,
        description = "A training step on random tokens, beside what the rate of the products alone would allow.")
final class BenchStepCommand implements Callable<Integer> {
    private static final double MILLI = 1e6;
    private static final double MEBI = 1 << 20;

    @Spec
    private CommandSpec spec;

    @Option(names = "--preset", paramLabel = "NAME", completionCandidates = PresetNames.class,
            description = "model shape: ${COMPLETION-CANDIDATES}; default ${DEFAULT-VALUE}", defaultValue = "peer-cpu")
    private String preset;

    @Option(names = "--batch", paramLabel = "N",
            description = "sequences, of all processes together; default ${DEFAULT-VALUE}",
            defaultValue = "4")
    private int batch;

    @Option(names = "--sequence", paramLabel = "N", description = "tokens per sequence; default ${DEFAULT-VALUE}",
            defaultValue = "256")
    private long sequence;

    @Option(names = "--size", paramLabel = "N",
            description = "of the square product whose rate is compared with; default ${DEFAULT-VALUE}",
            defaultValue = "1024")
    private int size;

    @Option(names = "--separate-head", description = "the head has weights of its own")
    private boolean separateHead;

    @Option(names = "--recompute", paramLabel = "WHAT",
            description = "what the backward computes again: none, attention, "
                    + "glu or full; default ${DEFAULT-VALUE}",
            defaultValue = "none")
    private Recompute recompute;

    @Option(names = "--profile", description = "also time each component, in a run of its own")
    private boolean profile;

    @Mixin
    private BenchOptions options;

    @Mixin
    private RankOptions ranks;

    @Mixin
    private LayoutOptions layout;

    @Override
    public Integer call() throws IOException {
        return ranks.startsOthers() ? ranks.start(spec, options.backend())
                : ranks.work(spec, options.backend(), this::measure);
    }

    private int measure(Job job) {
        if (profile && job.size() > 1) {
            throw new IllegalArgumentException("--profile is of one process");
        }
        job.agree(spec.root().commandLine().getParseResult().originalArgs());
        StepBench bench = new StepBench(BenchOptions.config(preset, separateHead), batch, sequence, recompute,
                layout.of(job), layout.mode());
        BackendKind kind = options.backend().kind();
        Precision precision = options.backend().precision();
        int threads = options.backend().threads();
        BenchReport report = new BenchReport("step", options).set("preset", preset)
                .set("parameters", bench.config().parameterCount()).set("vocabulary", bench.config().vocabulary())
                .set("batch", batch).set("sequence", sequence)
                .set("recompute", recompute.label());
        if (job.size() > 1) {
            report.set("layout", bench.layout()).set("sharding", layout.mode().label());
        }
        StepBench.Result result = bench.run(kind, precision, threads, options.seconds(), ranks(job));
        result.sumsBeside().ifPresent(how -> report.set("sums beside the computation", how));
        double peak = ProcessMemory.peak().orElse(0);
        time(report, result.step());
        report.figure("s from start to the first step", "%.2f", result.untilFirst());
        products(report, bench, result.step(), threads);
        utilisation(report, bench, result);
        report.figure("heap bytes per step", "%,.0f", result.allocated());
        report.figure("peak memory MiB", "%,.1f", peak / MEBI);
        if (result.deviceBytes() > 0) {
            report.figure("device memory MiB", "%,.1f", result.deviceBytes() / MEBI);
        }
        report.figure("planned tensors MiB", "%,.1f", result.plan().total() / MEBI);
        if (profile) {
            List<StepBench.Part> parts = bench.profile(kind, precision, threads, options.seconds());
            if (kind == BackendKind.CUDA) {
                floors(report, parts, StepBench.ceilings(kind, precision, threads), result.step());
            } else {
                profile(report, parts);
            }
        }
        PrintWriter out = spec.commandLine().getOut();
        report.print(out, options.json());
        return ExitCode.OK;
    }

    private static StepBench.Ranks ranks(Job job) {
        return new StepBench.Ranks() {
            @Override
            public int rank() {
                return job.rank();
            }

            @Override
            public Mesh mesh(Layout layout, Backend backend) {
                return RankOptions.mesh(job, layout, backend);
            }

            @Override
            public boolean agreed(boolean mine) {
                return job.broadcast("whether to measure on", new byte[] {(byte) (mine ? 1 : 0)}, 0)[0] == 1;
            }
        };
    }

    private void time(BenchReport report, Timing step) {
        report.figure("ms per step, median", "%,.2f", step.median() / MILLI);
        report.figure("ms per step, best", "%,.2f", step.best() / MILLI);
        report.figure("steps timed", "%,.0f", step.rounds());
        report.figure("steps of warm-up", "%,.0f", step.warmUp());
        report.figure("tokens/s", "%,.0f", batch * sequence / (step.median() / 1e9));
    }

    /** The rate is that of the vector twin: there is nothing to measure the spec against. */
    private void products(BenchReport report, StepBench bench, Timing step, int threads) {
        report.set("size", size);
        report.figure("GFLOP of products per step", "%,.3f", bench.flops() / 1e9);
        if (options.backend().kind() != BackendKind.VECTOR) {
            return;
        }
        List<GemmBench.Result> rates = GemmBench.run(BenchOptions.square(size),
                options.backend().precision().weights(), threads, options.gemmRounds(), null);
        double nanos = bench.productNanos(rates);
        report.figure("GFLOP/s of products of that size", "%,.1f", bench.flops() / nanos);
        report.figure("ms of products at that rate", "%,.2f", nanos / MILLI);
        report.figure("share of the step %", "%.1f", 100 * nanos / step.median());
    }

    private static void utilisation(BenchReport report, StepBench bench, StepBench.Result result) {
        double rate = bench.flops() / bench.layout().size() / result.step().median() * 1e9;
        result.peakFlops().ifPresent(peak -> {
            report.figure("TFLOP/s of products", "%,.1f", rate / 1e12);
            report.figure("data sheet's TFLOP/s", "%,.1f", peak / 1e12);
            report.figure("MFU", "%.3f", rate / peak);
        });
    }

    /** Where the time of a step goes on a device, and the least that each part would take at the best rates measured. */
    private static void floors(BenchReport report, List<StepBench.Part> parts, Ceilings ceilings, Timing step) {
        double all = sum(parts, StepBench.Part::nanos);
        double floor = sum(parts, part -> ceilings.floorNanos(part.work()));
        List<List<Object>> rows = new ArrayList<>();
        for (StepBench.Part part : parts) {
            double least = ceilings.floorNanos(part.work());
            rows.add(BenchReport.row(part.call(), part.nanos() / MILLI, 100 * part.nanos() / all, part.calls(),
                    part.work().bytes() / 1e9, part.work().flops() / 1e12, part.work().bytes() / part.nanos() / 1e3,
                    part.work().flops() / part.nanos() / 1e3, least / MILLI, part.nanos() / least));
        }
        rows.add(BenchReport.row("together", all / MILLI, 100.0, sum(parts, StepBench.Part::calls),
                sum(parts, part -> part.work().bytes()) / 1e9, sum(parts, part -> part.work().flops()) / 1e12,
                sum(parts, part -> part.work().bytes()) / all / 1e3,
                sum(parts, part -> part.work().flops()) / all / 1e3,
                floor / MILLI, all / floor));
        report.figure("TB/s of a copy", "%.3f", ceilings.bytesPerSecond() / 1e12);
        report.figure("TFLOP/s of an 8192 product", "%,.1f", ceilings.flopsPerSecond() / 1e12);
        report.figure("sum of floors ms", "%,.2f", floor / MILLI);
        report.figure("step over its floors", "%.2f", step.median() / floor);
        report.table("profile", BenchReport.columns("component", "%s", "ms/step", "%,.3f", "share %", "%.1f",
                "calls/step", "%,.0f", "GB", "%,.2f", "TFLOP", "%,.2f", "TB/s", "%.2f", "TFLOP/s", "%,.1f", "floor ms",
                "%,.3f", "over floor", "%.2f"), rows);
    }

    private static void profile(BenchReport report, List<StepBench.Part> parts) {
        double all = sum(parts, StepBench.Part::nanos);
        List<List<Object>> rows = new ArrayList<>();
        for (StepBench.Part part : parts) {
            rows.add(BenchReport.row(part.call(), part.nanos() / MILLI, 100 * part.nanos() / all, part.calls(),
                    part.allocated()));
        }
        rows.add(BenchReport.row("together", all / MILLI, 100.0, sum(parts, StepBench.Part::calls),
                sum(parts, StepBench.Part::allocated)));
        report.table("profile", BenchReport.columns("component", "%s", "ms/step", "%,.3f", "share %", "%.1f",
                "calls/step", "%,.0f", "heap bytes/step", "%,.0f"), rows);
    }

    private static double sum(List<StepBench.Part> parts, ToDoubleFunction<StepBench.Part> value) {
        return parts.stream().mapToDouble(value).sum();
    }
}
