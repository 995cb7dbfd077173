package org.transnormer.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.EnvironmentException;
import org.transnormer.backend.BackendKind;
import org.transnormer.checkpoint.HfConfig;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.plan.Accelerator;
import org.transnormer.plan.Plan;
import org.transnormer.plan.Planner;
import org.transnormer.plan.Search;
import org.transnormer.plan.Setup;
import org.transnormer.tensor.DType;
import org.transnormer.train.ModelFolder;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Says what training on many GPUs needs, with none. */
@Command(name = "plan", mixinStandardHelpOptions = true, sortOptions = false, abbreviateSynopsis = true,
        description = "Say what training on so many GPUs needs and how fast it is, or find the fastest way; needs no GPU.",
        footer = {"", "Examples:", "  tnl plan --preset 7B --gpus 2 --sharding full --batch 16 --device h200",
            "  tnl plan --preset 175B --gpus 512 --sequence 8192 --batch 512 --search", "",
            "Times are predictions from rates measured on one H100 and, between GPUs, on two H200."})
final class PlanCommand implements Callable<Integer> {
    private static final int SHOWN = 8;

    @Spec
    private CommandSpec spec;

    @Option(names = "--preset", paramLabel = "NAME", completionCandidates = PresetNames.class,
            description = "model shape: ${COMPLETION-CANDIDATES}; default 1B")
    private String preset;

    @Option(names = "--separate-head", description = "the head has weights of its own, with --preset")
    private boolean separateHead;

    @Option(names = "--config", paramLabel = "FILE", description = "model shape from a config.json")
    private Path config;

    @Option(names = {"--gpus", "--ranks"}, paramLabel = "N", description = "GPUs; default ${DEFAULT-VALUE}",
            defaultValue = "1")
    private int gpus;

    @ArgGroup(validate = false)
    private LayoutOptions layout = new LayoutOptions();

    @Option(names = "--batch", paramLabel = "N",
            description = "sequences per micro-batch, of all GPUs together; default: one for each that reads its own")
    private Integer batch;

    @Option(names = "--accumulate", paramLabel = "N",
            description = "micro-batches per step; default ${DEFAULT-VALUE}", defaultValue = "1")
    private int accumulate;

    @Option(names = "--sequence", paramLabel = "N", description = "tokens per sequence; default ${DEFAULT-VALUE}",
            defaultValue = "2048")
    private long sequence;

    @ArgGroup(validate = false)
    private RecomputeOption recompute = new RecomputeOption();

    @Option(names = "--dtype", paramLabel = "TYPE", description = "bf16 or f32; default ${DEFAULT-VALUE}",
            defaultValue = "bf16")
    private DType dtype;

    @ArgGroup(validate = false)
    private DeviceOptions devices = new DeviceOptions();

    @Option(names = "--search", description = "find the fastest ways to make a step of --batch times --accumulate "
            + "sequences; --tp, --sp, --sharding, --recompute and how the step is cut are found")
    private boolean search;

    @Option(names = "--json", description = "print one JSON object")
    private boolean json;

    @Override
    public Integer call() {
        if (gpus < 1 || accumulate < 1 || sequence < 1 || batch != null && batch < 1) {
            throw new IllegalArgumentException("--gpus, --batch, --accumulate and --sequence must be 1 or more");
        }
        Planner planner = new Planner(devices.device());
        PrintWriter out = spec.commandLine().getOut();
        if (search) {
            search(planner, out);
            return ExitCode.OK;
        }
        Plan plan = plan(planner);
        PlanReport.of(plan).print(out, json);
        if (!plan.fits()) {
            throw tooLarge(plan, new Search(planner, plan.setup()));
        }
        return ExitCode.OK;
    }

    /** What was asked for; of what may be computed again the first that fits. */
    private Plan plan(Planner planner) {
        Plan plan = null;
        for (Recompute candidate : recompute.candidates()) {
            plan = planner.fullest(setup(layout.of(gpus), candidate));
            if (plan.fits()) {
                break;
            }
        }
        return plan;
    }

    private Setup setup(Layout of, Recompute what) {
        return new Setup(config(), BackendKind.CUDA.precision(dtype), of, layout.mode(), what,
                batch == null ? of.data() : batch, sequence, accumulate);
    }

    private void search(Planner planner, PrintWriter out) {
        List<Plan> best = new Search(planner, setup(new Layout(gpus, 1), Recompute.NONE)).best(SHOWN);
        if (best.isEmpty()) {
            throw new EnvironmentException("no layout of %d x %s fits".formatted(gpus, planner.device().name()),
                    "give more GPUs, shorter sequences or a smaller model");
        }
        PlanReport.of(best).print(out, json);
    }

    private static EnvironmentException tooLarge(Plan plan, Search search) {
        Accelerator device = plan.device();
        return new EnvironmentException("this needs %s of each GPU's memory, and %s has %s".formatted(
                gibibytes(plan.bytes()), device.name(), gibibytes(device.memory())),
                search.nearest().map(nearest -> "nearest that fits, with %s: %s".formatted(gibibytes(nearest.bytes()),
                        PlanReport.options(nearest.setup())))
                        .orElse("no layout of so many fits: give more GPUs, shorter sequences or a smaller model"));
    }

    private static String gibibytes(long bytes) {
        return "%.1f GiB".formatted(bytes / (double) (1L << 30));
    }

    private ModelConfig config() {
        if (config == null) {
            return BenchOptions.config(preset == null ? "1B" : preset, separateHead);
        }
        if (preset != null) {
            throw new IllegalArgumentException("--preset and --config both say what to plan; give one");
        }
        HfConfig json = HfConfig.read(config);
        return ModelFolder.config(config, json, json.flag("tie_word_embeddings", true));
    }
}
