package org.transnormer.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import org.transnormer.InputException;
import org.transnormer.backend.Backend;
import org.transnormer.checkpoint.AtomicFiles;
import org.transnormer.checkpoint.HfConfig;
import org.transnormer.checkpoint.SharedFolder;
import org.transnormer.launch.Job;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Preset;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Mesh;
import org.transnormer.tokenizer.ByteTokenizer;
import org.transnormer.tokenizer.Tokenizer;
import org.transnormer.train.ModelFolder;
import org.transnormer.train.RunData;
import org.transnormer.train.RunFolder;
import org.transnormer.train.TrainSettings;
import org.transnormer.train.TrainingRun;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a model and leaves a run folder. */
@Command(name = "train", mixinStandardHelpOptions = true, sortOptions = false,
        abbreviateSynopsis = true,
        description = "Train a model; with no option, a small one on the bundled text.", footer = {"", "Examples:",
            "  tnl train", "  tnl train --data books/ --preset small --steps 20000 --out runs/books",
            "  tnl train --resume runs/books --steps 40000",
            "  tnl train --gpus 8 --preset 1B --batch 64 --sequence 2048 --data books/", "",
            "Ctrl-C finishes the step at hand and saves; --resume goes on from there to the same bits."})
final class TrainCommand implements Callable<Integer> {
    private static final long DEFAULT_STEPS = 2_200;
    /** What may be said about a run that goes on; its settings decide everything else. */
    private static final Set<String> RESUME_OPTIONS = Set.of("--resume", "--steps", "--backend", "--dtype",
            "--threads", "--recompute", "--ranks", "--tp", "--sp", "--sharding", "--dry-run",
            "--device", "--memory", "--link", "--network", "--per-node");

    @Spec
    private CommandSpec spec;

    @ArgGroup(validate = false, heading = "%nWhat to train%n")
    private What what = new What();

    @ArgGroup(validate = false, heading = "%nHow to train%n")
    private How how = new How();

    @ArgGroup(validate = false, heading = "%nWhat to keep%n")
    private Keep keep = new Keep();

    @ArgGroup(validate = false, heading = "%nHow to compute%n")
    private BackendOptions backendOptions = new BackendOptions();

    @ArgGroup(validate = false)
    private RecomputeOption recompute = new RecomputeOption();

    @ArgGroup(validate = false, heading = "%nOn how many%n")
    private RankOptions ranks = new RankOptions();

    @ArgGroup(validate = false)
    private LayoutOptions layout = new LayoutOptions();

    @Option(names = "--dry-run",
            description = "construct every rank, compute nothing and write nothing: what does not fit "
                    + "together, memory, and on GPUs, which need not be there, the time of a step")
    private boolean dryRun;

    @ArgGroup(validate = false, heading = "%nGPUs of a --dry-run%n")
    private DeviceOptions devices = new DeviceOptions();

    /** Model and text. */
    static final class What {
        @Option(names = "--data", paramLabel = "PATH", arity = "1..*",
                description = "text files, folders, .jsonl (field text), .gz; default: the bundled text")
        private List<Path> data = List.of();
        @Option(names = "--held-out", paramLabel = "SHARE",
                description = "share of the documents kept for evaluation, up to 524,288 tokens; default ${DEFAULT-VALUE};"
                        + " the bundled text has a fixed one",
                defaultValue = "0.05")
        private double heldOut;
        @Option(names = "--preset", paramLabel = "NAME", completionCandidates = PresetNames.class,
                description = "model shape: ${COMPLETION-CANDIDATES}; default nano")
        private String preset;
        @Option(names = "--separate-head", description = "the head has weights of its own, with --preset")
        private boolean separateHead;
        @Option(names = "--config", paramLabel = "FILE", description = "model shape from a config.json")
        private Path config;
    }

    /** What decides the numbers. */
    static final class How {
        @Option(names = "--steps", paramLabel = "N", description = "optimizer steps; default " + DEFAULT_STEPS)
        private Long steps;
        @Option(names = "--batch", paramLabel = "N",
                description = "sequences per micro-batch; default ${DEFAULT-VALUE}", defaultValue = "4")
        private int batch;
        @Option(names = "--sequence", paramLabel = "N", description = "tokens per sequence; default ${DEFAULT-VALUE}",
                defaultValue = "256")
        private long sequence;
        @Option(names = "--accumulate", paramLabel = "N",
                description = "micro-batches per step; default ${DEFAULT-VALUE}", defaultValue = "1")
        private int accumulate;
        @Option(names = "--lr", paramLabel = "X", description = "peak learning rate; default ${DEFAULT-VALUE}",
                defaultValue = "1.5e-2")
        private double learningRate;
        @Option(names = "--schedule", paramLabel = "NAME",
                description = "of the learning rate: constant, linear, cosine or wsd; default ${DEFAULT-VALUE}",
                defaultValue = "cosine")
        private String schedule;
        @Option(names = "--lr-floor", paramLabel = "SHARE",
                description = "last learning rate as a share of the peak; default ${DEFAULT-VALUE}",
                defaultValue = "0.1")
        private double floor;
        @Option(names = "--warmup", paramLabel = "N", description = "steps of warm-up; default: a twentieth")
        private Long warmup;
        @Option(names = "--lr-decay", paramLabel = "N", description = "steps of wsd's decay; default: a fifth")
        private Long decay;
        @Option(names = "--weight-decay", paramLabel = "X",
                description = "decoupled, on matrices only; default ${DEFAULT-VALUE}", defaultValue = "0.1")
        private double weightDecay;
        @Option(names = "--beta1", paramLabel = "X", description = "of AdamW; default ${DEFAULT-VALUE}",
                defaultValue = "0.9")
        private double beta1;
        @Option(names = "--beta2", paramLabel = "X", description = "of AdamW; default ${DEFAULT-VALUE}",
                defaultValue = "0.95")
        private double beta2;
        @Option(names = "--epsilon", paramLabel = "X", description = "of AdamW; default ${DEFAULT-VALUE}",
                defaultValue = "1e-8")
        private double epsilon;
        @Option(names = "--clip", paramLabel = "X",
                description = "limit of the gradient norm; 0: none; default ${DEFAULT-VALUE}", defaultValue = "1")
        private double clip;
        @Option(names = "--seed", paramLabel = "N",
                description = "of weights, split and order of the text; default ${DEFAULT-VALUE}", defaultValue = "1")
        private long seed;
    }

    /** What the run leaves. */
    static final class Keep {
        @Option(names = "--out", paramLabel = "FOLDER", description = "new run folder; default: runs/DATE-TIME")
        private Path out;
        @Option(names = "--resume", paramLabel = "FOLDER",
                description = "go on with a run from its last checkpoint; --steps may be raised")
        private Path resume;
        @Option(names = "--eval-every", paramLabel = "N",
                description = "steps between evaluations; 0: only at the end; default: a quarter")
        private Long evaluateEvery;
        @Option(names = "--checkpoint-every", paramLabel = "N",
                description = "steps between checkpoints; 0: only at the end; default: a quarter")
        private Long checkpointEvery;
        @Option(names = "--keep", paramLabel = "N", description = "checkpoints kept; default ${DEFAULT-VALUE}",
                defaultValue = "2")
        private int keep;
    }

    @Override
    public Integer call() throws IOException {
        if (dryRun) {
            return dryRun(asked());
        }
        if (ranks.startsOthers()) {
            // What is wrong with the command line is said once.
            if (keep.resume == null) {
                settings();
                config(new ByteTokenizer());
            } else {
                resumed();
            }
            return ranks.start(spec, backendOptions);
        }
        return ranks.work(spec, backendOptions, this::train);
    }

    /**
     * What is to be trained.
     *
     * @param earlier the run that goes on, or null
     */
    private record Asked(RunFolder earlier, RunFolder.Description description, RunData data) {
    }

    private Asked asked() {
        Tokenizer tokenizer = new ByteTokenizer();
        RunFolder earlier = keep.resume == null ? null : resumed();
        TrainSettings settings = earlier == null ? settings() : resumedSettings(earlier.description().settings());
        ModelConfig config = earlier == null ? config(tokenizer) : earlier.description().config();
        RunData data = RunData.read(settings, tokenizer);
        RunFolder.Description description = new RunFolder.Description(Tnl.version(), settings, config,
                backendOptions.kind(), backendOptions.dtype(), data.train().digest(), data.heldOut().digest());
        if (earlier != null) {
            checkSameData(earlier.description(), description);
        }
        return new Asked(earlier, description, data);
    }

    private int dryRun(Asked asked) {
        TrainSettings settings = asked.description().settings();
        ModelConfig config = asked.description().config();
        PrintWriter out = spec.commandLine().getOut();
        int count = ranks.planned();
        backendOptions.shareCores(count);
        DryRun dry = new DryRun(backendOptions, devices.device(), layout.of(count), layout.mode(), config, settings,
                asked.data());
        Recompute what = recompute.plan(dry::sample).recompute();
        DryRun.Fullest fullest = dry.construct(what);
        printPlan(settings, config, asked.data(), "backend: %s".formatted(backendOptions.kind().name()
                .toLowerCase(Locale.ROOT)), fullest.report(), out);
        dry.print(fullest, what, out);
        fullest.report().check();
        out.printf("dry run: %d rank%s constructed, rank %d needs most; nothing was computed or written%n", count,
                count == 1 ? "" : "s", fullest.rank());
        return ExitCode.OK;
    }

    private int train(Job job) throws IOException {
        Tokenizer tokenizer = new ByteTokenizer();
        Asked asked = asked();
        RunFolder earlier = asked.earlier();
        RunFolder.Description description = asked.description();
        TrainSettings settings = description.settings();
        ModelConfig config = description.config();
        RunData data = asked.data();
        agree(job, description);
        RecomputeOption.Planned planned = planned(job, config, settings, data);
        MemoryReport report = planned.report();
        PrintWriter out = spec.commandLine().getOut();
        try (Backend backend = backendOptions.open(report.plan())) {
            printPlan(settings, config, data, backendOptions.describe(backend), report, out);
            backend.peakFlops()
                    .ifPresent(peak -> out.printf("MFU: of %.1f TFLOP/s by the data sheet, %.3g GFLOP a token%n",
                            peak / 1e12, config.trainingFlops() / 1e9));
            if (planned.recompute() != Recompute.NONE) {
                out.printf("recompute: %s%n", planned.recompute().label());
            }
            Mesh mesh = RankOptions.mesh(job, layout.of(job), backend);
            TrainingRun run = new TrainingRun(backend, mesh, layout.mode(), config, settings, data.train(),
                    data.heldOut(), planned.recompute());
            if (job.size() > 1) {
                out.printf("ranks: %d, %s, sharding %s%s%n", job.size(), layout.of(job), layout.mode().label(),
                        mesh.sumsBeside().map(how -> "; sums beside the computation: " + how).orElse(""));
            }
            RunFolder folder = earlier == null ? begin(job, run, description)
                    : goOn(job, run, earlier, description);
            out.printf("run folder: %s%s%n", folder.path(), earlier == null ? ""
                    : ", after step %d".formatted(run.trainer().step()));
            if (!new TrainingLoop(job, mesh, run, folder, backend, tokenizer, out).run()) {
                return ExitCode.TERMINATED;
            }
            report.printPeak(out, backend);
        }
        return ExitCode.OK;
    }

    private void agree(Job job, RunFolder.Description description) {
        List<String> lines = new ArrayList<>(description.lines());
        lines.add("layout: " + layout.of(job));
        lines.add("sharding: " + layout.mode().label());
        job.agree(lines);
    }

    /** Ranks find different amounts of free memory, and compute the same again all the same. */
    private RecomputeOption.Planned planned(Job job, ModelConfig config, TrainSettings settings, RunData data) {
        RecomputeOption.Planned planned = recompute.plan(what -> plan(job, config, settings, data, what));
        planned.report().check();
        Recompute most = Recompute.values()[RankOptions.largest(job, "what is computed again",
                planned.recompute().ordinal())];
        return most == planned.recompute() ? planned
                : new RecomputeOption.Planned(most, plan(job, config, settings, data, most));
    }

    /** Rank 0 makes the folder, and says where. */
    private RunFolder begin(Job job, TrainingRun run, RunFolder.Description description) {
        run.weights().initialise(description.settings().seed());
        run.optimizer().adoptWeights();
        RunFolder made = job.rank() == 0 ? RunFolder.create(outFolder(), description, sharers(job, 0)) : null;
        byte[] path = job.broadcast("the run folder", made == null ? new byte[0]
                : made.path().toString().getBytes(StandardCharsets.UTF_8), 0);
        RunFolder folder = made != null ? made
                : RunFolder.shared(Path.of(new String(path, StandardCharsets.UTF_8)), description);
        try {
            SharedFolder.check(job, folder.path());
        } catch (RuntimeException e) {
            if (made != null) {
                AtomicFiles.delete(made.path());
            }
            throw e;
        }
        return folder;
    }

    private RunFolder goOn(Job job, TrainingRun run, RunFolder earlier, RunFolder.Description description) {
        RunFolder folder = earlier.with(description);
        SharedFolder.check(job, folder.path());
        folder.restore(job, run);
        if (job.rank() == 0) {
            folder.describe(sharers(job, run.trainer().step()));
        }
        return folder;
    }

    private RunFolder.Ranks sharers(Job job, long afterStep) {
        return new RunFolder.Ranks(afterStep, layout.of(job).toString(), layout.mode().label());
    }

    private RunFolder resumed() {
        for (OptionSpec option : spec.commandLine().getParseResult().matchedOptions()) {
            if (!RESUME_OPTIONS.contains(option.longestName())) {
                throw new IllegalArgumentException("--resume goes on with the run's own settings: leave out "
                        + option.longestName());
            }
        }
        RunFolder earlier = RunFolder.open(keep.resume);
        if (earlier.isFinished() && (how.steps == null || how.steps <= earlier.description().settings().steps())) {
            throw new InputException(keep.resume.toString(), "is finished after step %d"
                    .formatted(earlier.description().settings().steps()), "give more --steps to go on");
        }
        backendOptions.continueWith(earlier.description().backend(), earlier.description().dtype());
        return earlier;
    }

    private TrainSettings settings() {
        long steps = how.steps == null ? DEFAULT_STEPS : how.steps;
        long warmup = how.warmup == null ? steps / 20 : how.warmup;
        return new TrainSettings(what.data.stream().map(path -> path.toAbsolutePath().normalize().toString()).toList(),
                what.heldOut, how.batch, how.sequence, how.accumulate, steps, how.seed, how.schedule, how.learningRate,
                how.floor, warmup, how.decay == null ? Math.max(1, (steps - warmup) / 5) : how.decay, how.weightDecay,
                how.beta1, how.beta2, how.epsilon, how.clip, quarter(keep.evaluateEvery, steps),
                quarter(keep.checkpointEvery, steps), keep.keep);
    }

    private static long quarter(Long asked, long steps) {
        return asked == null ? Math.max(1, steps / 4) : asked;
    }

    /** A run that goes on keeps its settings, else its numbers would not be those of one that was never stopped. */
    private TrainSettings resumedSettings(TrainSettings s) {
        return how.steps == null ? s : s.withSteps(how.steps);
    }

    private ModelConfig config(Tokenizer tokenizer) {
        if (what.config == null) {
            ModelConfig config = Preset.of(what.preset == null ? Preset.NANO.label() : what.preset).config(
                    tokenizer.vocabularySize(), tokenizer.padId(), tokenizer.bosId(), tokenizer.eosId());
            return what.separateHead ? config.withSeparateHead() : config;
        }
        if (what.preset != null) {
            throw new IllegalArgumentException("--preset and --config both say what to train; give one");
        }
        HfConfig json = HfConfig.read(what.config);
        ModelConfig config = ModelFolder.config(what.config, json, json.flag("tie_word_embeddings", true));
        if (config.vocabulary() < tokenizer.vocabularySize()) {
            throw json.wrong("vocab_size", "at least the %d tokens of the %s tokenizer".formatted(
                    tokenizer.vocabularySize(), tokenizer.name()));
        }
        return config;
    }

    private MemoryReport plan(Job job, ModelConfig config, TrainSettings settings, RunData data, Recompute what) {
        try (Backend backend = backendOptions.plan()) {
            new TrainingRun(backend, Mesh.planned(layout.of(job), job.rank()), layout.mode(), config, settings,
                    data.train(), data.heldOut(), what);
            return MemoryReport.of(backend, backendOptions.kind(), layout.of(job), ranks.sharers());
        }
    }

    private static void printPlan(TrainSettings s, ModelConfig config, RunData data, String backend,
            MemoryReport report, PrintWriter out) {
        data.notices().forEach(notice -> out.println("note: " + notice));
        out.println(backend);
        out.printf("model: %,d parameters; width %d, %d layers, %d heads%n", config.parameterCount(), config.width(),
                config.layers(), config.heads());
        out.printf("data: %s; %,d documents of %,d bytes to train on, %,d of %,d held out%n",
                s.data().isEmpty() ? "the bundled text" : String.join(", ", s.data()), data.train().documents(),
                data.train().bytes(), data.heldOut().documents(), data.heldOut().bytes());
        long tokens = s.steps() * s.tokensPerStep();
        out.printf("plan: %,d steps of %,d tokens, %,d in all: %.2f epochs; %s learning rate up to %.2e%n", s.steps(),
                s.tokensPerStep(), tokens, (double) tokens / data.train().pairs(), s.schedule(), s.learningRate());
        report.print(out);
    }

    private Path outFolder() {
        return keep.out != null ? keep.out
                : Path.of("runs", LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss")));
    }

    private static void checkSameData(RunFolder.Description then, RunFolder.Description now) {
        if (!then.trainDigest().equals(now.trainDigest()) || !then.heldOutDigest().equals(now.heldOutDigest())) {
            throw new InputException(then.settings().data().isEmpty() ? "the bundled text"
                    : String.join(", ", then.settings().data()), "is no longer what the run was started with",
                    "bring it back, or start a new run");
        }
    }
}
