package org.transnormer.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.backend.Backend;
import org.transnormer.checkpoint.HfConfig;
import org.transnormer.data.BundledCorpus;
import org.transnormer.data.TokenDataset;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Preset;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tokenizer.ByteTokenizer;
import org.transnormer.tokenizer.Tokenizer;
import org.transnormer.train.ModelFolder;
import org.transnormer.train.RunFolder;
import org.transnormer.train.TrainSettings;
import org.transnormer.train.TrainingRun;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a model and leaves a run folder. */
@Command(name = "train", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Train a model; with no option, a small one on the bundled text.", footer = {"", "Examples:",
            "  tnl train", "  tnl train --data books/ --preset small --steps 20000 --out runs/books",
            "  tnl train --resume runs/books --steps 40000"})
final class TrainCommand implements Callable<Integer> {
    private static final long DEFAULT_STEPS = 1_000;

    @Spec
    private CommandSpec spec;

    @Mixin
    private BackendOptions backendOptions;

    @ArgGroup(validate = false, heading = "%nWhat to train%n")
    private final What what = new What();

    @ArgGroup(validate = false, heading = "%nHow to train%n")
    private final How how = new How();

    @ArgGroup(validate = false, heading = "%nWhat to keep%n")
    private final Keep keep = new Keep();

    /** Model and text. */
    static final class What {
        @Option(names = "--data", paramLabel = "PATH", arity = "1..*",
                description = "text files, folders, .jsonl (field text), .gz; default: the bundled text")
        private List<Path> data = List.of();
        @Option(names = "--held-out", paramLabel = "SHARE", description = "share of the documents kept for evaluation",
                defaultValue = "0.05")
        private double heldOut;
        @Option(names = "--preset", paramLabel = "NAME", description = "model shape by name; default tiny")
        private String preset;
        @Option(names = "--config", paramLabel = "FILE", description = "model shape from a config.json")
        private Path config;
    }

    /** What decides the numbers. */
    static final class How {
        @Option(names = "--steps", paramLabel = "N", description = "optimizer steps")
        private Long steps;
        @Option(names = "--batch", paramLabel = "N", description = "sequences per micro-batch", defaultValue = "8")
        private int batch;
        @Option(names = "--sequence", paramLabel = "N", description = "tokens per sequence", defaultValue = "256")
        private long sequence;
        @Option(names = "--accumulate", paramLabel = "N", description = "micro-batches per step", defaultValue = "1")
        private int accumulate;
        @Option(names = "--lr", paramLabel = "X", description = "peak learning rate", defaultValue = "3e-3")
        private double learningRate;
        @Option(names = "--schedule", paramLabel = "NAME", description = "constant, linear, cosine or wsd",
                defaultValue = "cosine")
        private String schedule;
        @Option(names = "--lr-floor", paramLabel = "SHARE", description = "last learning rate as a share of the peak",
                defaultValue = "0.1")
        private double floor;
        @Option(names = "--warmup", paramLabel = "N", description = "steps of warm-up; default a twentieth")
        private Long warmup;
        @Option(names = "--lr-decay", paramLabel = "N", description = "steps of wsd's decay; default a fifth")
        private Long decay;
        @Option(names = "--weight-decay", paramLabel = "X", description = "decoupled, on matrices",
                defaultValue = "0.1")
        private double weightDecay;
        @Option(names = "--beta1", paramLabel = "X", description = "AdamW", defaultValue = "0.9")
        private double beta1;
        @Option(names = "--beta2", paramLabel = "X", description = "AdamW", defaultValue = "0.95")
        private double beta2;
        @Option(names = "--epsilon", paramLabel = "X", description = "AdamW", defaultValue = "1e-8")
        private double epsilon;
        @Option(names = "--clip", paramLabel = "X", description = "limit of the gradient norm; 0: off",
                defaultValue = "1")
        private double clip;
        @Option(names = "--seed", paramLabel = "N", description = "of weights, split and order", defaultValue = "1")
        private long seed;
    }

    /** What the run leaves. */
    static final class Keep {
        @Option(names = "--out", paramLabel = "FOLDER", description = "run folder; default runs/DATE-TIME")
        private Path out;
        @Option(names = "--resume", paramLabel = "FOLDER", description = "go on with a run; --steps may be raised")
        private Path resume;
        @Option(names = "--eval-every", paramLabel = "N", description = "steps between evaluations; default a tenth")
        private Long evaluateEvery;
        @Option(names = "--checkpoint-every", paramLabel = "N",
                description = "steps between checkpoints; default a tenth")
        private Long checkpointEvery;
        @Option(names = "--keep", paramLabel = "N", description = "checkpoints kept", defaultValue = "2")
        private int keep;
    }

    @Override
    public Integer call() throws IOException {
        PrintWriter out = spec.commandLine().getOut();
        Tokenizer tokenizer = new ByteTokenizer();
        RunFolder resumed = keep.resume == null ? null : RunFolder.open(keep.resume);
        TrainSettings settings = resumed == null ? settings() : resumedSettings(resumed.description().settings());
        ModelConfig config = resumed == null ? config(tokenizer) : resumed.description().config();
        TokenDataset.Split data = data(settings, tokenizer, out);
        RunFolder.Description description = new RunFolder.Description(Tnl.version(), settings, config,
                backendOptions.kind(), backendOptions.dtype(), data.train().digest(), data.heldOut().digest());
        MemoryReport report = plan(config, settings, data);
        try (HostMemory memory = new HostMemory(); Backend backend = backendOptions.open(memory)) {
            out.println(backendOptions.describe(backend));
            out.printf("model: %,d parameters; data: %,d training and %,d held-out bytes%n", config.parameterCount(),
                    data.train().bytes(), data.heldOut().bytes());
            report.print(out);
            TrainingRun run = new TrainingRun(backend, config, settings, data.train(), data.heldOut());
            RunFolder folder;
            if (resumed == null) {
                folder = RunFolder.create(outFolder(), description);
                run.weights().initialise(settings.seed());
                run.optimizer().adoptWeights();
            } else {
                checkSameData(resumed.description(), description);
                folder = resumed.with(description);
                folder.restore(run);
                out.printf("resumed: %s after step %,d%n", folder.path(), run.trainer().step());
            }
            return new TrainingLoop(run, folder, backend, tokenizer, out).run();
        }
    }

    private TrainSettings settings() {
        long steps = how.steps == null ? DEFAULT_STEPS : how.steps;
        long warmup = how.warmup == null ? steps / 20 : how.warmup;
        return new TrainSettings(what.data.stream().map(Path::toString).toList(), what.heldOut, how.batch, how.sequence,
                how.accumulate, steps, how.seed, how.schedule, how.learningRate, how.floor, warmup,
                how.decay == null ? Math.max(1, steps / 5) : how.decay, how.weightDecay, how.beta1, how.beta2,
                how.epsilon, how.clip, keep.evaluateEvery == null ? Math.max(1, steps / 10) : keep.evaluateEvery,
                keep.checkpointEvery == null ? Math.max(1, steps / 10) : keep.checkpointEvery, keep.keep);
    }

    /** A resumed run keeps its settings, else its numbers would not be those of one that was never stopped. */
    private TrainSettings resumedSettings(TrainSettings s) {
        return how.steps == null ? s : s.withSteps(how.steps);
    }

    private ModelConfig config(Tokenizer tokenizer) {
        if (what.config != null) {
            if (what.preset != null) {
                throw new IllegalArgumentException("--preset and --config both say what to train; give one");
            }
            HfConfig json = HfConfig.read(what.config);
            return ModelFolder.config(what.config, json, json.flag("tie_word_embeddings", true));
        }
        return Preset.of(what.preset == null ? Preset.TINY.label() : what.preset).config(tokenizer.vocabularySize(),
                tokenizer.padId(), tokenizer.bosId(), tokenizer.eosId());
    }

    private static TokenDataset.Split data(TrainSettings settings, Tokenizer tokenizer, PrintWriter out) {
        if (settings.data().isEmpty()) {
            return BundledCorpus.load(tokenizer);
        }
        TokenDataset.Loaded loaded = TokenDataset.read(tokenizer, settings.data().stream().map(Path::of).toList());
        out.println("data: " + loaded.report());
        return loaded.data().split(settings.heldOut(), settings.seed());
    }

    private MemoryReport plan(ModelConfig config, TrainSettings settings, TokenDataset.Split data) {
        try (PlanMemory memory = new PlanMemory(); Backend backend = backendOptions.open(memory)) {
            new TrainingRun(backend, config, settings, data.train(), data.heldOut());
            return new MemoryReport(memory.plan());
        }
    }

    private Path outFolder() {
        return keep.out != null ? keep.out
                : Path.of("runs", LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss")));
    }

    private static void checkSameData(RunFolder.Description then, RunFolder.Description now) {
        if (!then.trainDigest().equals(now.trainDigest()) || !then.heldOutDigest().equals(now.heldOutDigest())) {
            throw new IllegalArgumentException("the text at %s is no longer what the run was started with"
                    .formatted(then.settings().data()));
        }
    }
}
