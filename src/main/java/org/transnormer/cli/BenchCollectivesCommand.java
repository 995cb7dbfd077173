package org.transnormer.cli;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.backend.BackendKind;
import org.transnormer.bench.CollectivesBench;
import org.transnormer.cuda.CudaReport;
import org.transnormer.cuda.Device;
import org.transnormer.launch.Job;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tnl bench collectives}. */
@Command(name = "collectives", mixinStandardHelpOptions = true, sortOptions = false, abbreviateSynopsis = true,
        description = "What GPUs exchange by NCCL, in GB/s over each GPU's link (nccl-tests' bus bandwidth): those of this "
                + "machine, or of the ranks that torchrun, Slurm or Kubernetes started.")
final class BenchCollectivesCommand implements Callable<Integer> {
    private static final double GIGA = 1e9;

    @Spec
    private CommandSpec spec;

    @Option(names = "--gpus", paramLabel = "N", description = "of this machine; default: all")
    private Integer gpus;

    @Option(names = "--size", paramLabel = "MIB", split = ",",
            description = "MiB of the tensor; default ${DEFAULT-VALUE}",
            defaultValue = "16,1024")
    private List<Long> sizes;

    @Mixin
    private BenchOptions options;

    @Override
    public Integer call() throws IOException {
        options.backend().prefer(BackendKind.CUDA);
        if (options.backend().kind() != BackendKind.CUDA) {
            throw new IllegalArgumentException("--backend: GPUs exchange by NCCL, other backends do not");
        }
        sizes.stream().filter(size -> size < 1).findFirst().ifPresent(size -> {
            throw new IllegalArgumentException("--size must be 1 MiB or more, not " + size);
        });
        // Not asked to start others, it finds out which rank this process is.
        RankOptions place = new RankOptions();
        place.startsOthers();
        return place.work(spec, options.backend(), this::measure);
    }

    private int measure(Job job) {
        CollectivesBench bench = new CollectivesBench(options.backend().dtype(),
                sizes.stream().map(size -> size << 20).toList(), options.seconds());
        print(job.size() == 1 ? bench.run(local()) : bench.rank(job.rank(), job.size(),
                id -> job.broadcast("the id of NCCL", id, 0)));
        return ExitCode.OK;
    }

    private int local() {
        int there = Device.all().size();
        int ranks = gpus == null ? there : gpus;
        if (ranks < 2 || ranks > there) {
            throw new IllegalArgumentException("--gpus takes 2 or more of the machine's %d, not %d".formatted(there,
                    ranks));
        }
        return ranks;
    }

    private void print(List<CollectivesBench.Result> results) {
        List<List<Object>> rows = new ArrayList<>();
        for (CollectivesBench.Result r : results) {
            rows.add(BenchReport.row(r.collective().label(), r.bytes() >> 20, r.milliseconds(),
                    r.busBandwidth() / GIGA, r.calls()));
        }
        BenchReport report = new BenchReport("collectives", options).set("gpus", results.getFirst().ranks())
                .set("nccl", CudaReport.ncclVersion());
        report.table("collectives", BenchReport.columns("collective", "%s", "MiB", "%,d", "ms", "%.3f", "GB/s", "%.1f",
                "calls", "%,d"), rows);
        report.print(spec.commandLine().getOut(), options.json());
    }
}
