package org.transnormer.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eclipse.collections.api.list.ImmutableList;
import org.transnormer.InputException;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.checkpoint.AtomicFiles;
import org.transnormer.checkpoint.HfConfig;
import org.transnormer.checkpoint.RunCheckpoint;
import org.transnormer.checkpoint.RunCheckpoints;
import org.transnormer.checkpoint.RunState;
import org.transnormer.launch.Gathering;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.plot.LossPlot;
import org.transnormer.tensor.DType;
import org.transnormer.tokenizer.Tokenizer;

/**
 * What a training run leaves behind, and all that is needed to repeat or to resume it: {@code run.json} (the resolved
 * configuration), {@code metrics.jsonl}, {@code loss.svg}, {@code checkpoints/}, {@code model/}. SPEC section 6.3.
 */
public final class RunFolder {
    private static final String RUN = "run.json";
    private static final String METRICS = "metrics.jsonl";
    private static final String PLOT = "loss.svg";
    private static final String CHECKPOINTS = "checkpoints";
    private static final String RANKS = "ranks";
    private static final String AFTER_STEP = "after_step";
    private static final String LAYOUT = "layout";
    private static final String SHARDING = "sharding";
    private static final ObjectMapper JSON = new ObjectMapper();

    /**
     * The resolved configuration of a run.
     *
     * @param version of the program
     * @param config the model
     * @param backend that it was started on
     * @param dtype as in --dtype
     * @param trainDigest of the training tokens
     * @param heldOutDigest of the held-out tokens
     */
    public record Description(String version, TrainSettings settings, ModelConfig config, BackendKind backend,
            DType dtype, String trainDigest, String heldOutDigest) {

        /** What all ranks of a run must agree on, to be compared line by line. */
        public List<String> lines() {
            List<String> lines = new ArrayList<>();
            toJson().forEach((key, value) -> {
                if (value instanceof Map<?, ?> group) {
                    group.forEach((inner, each) -> lines.add("%s.%s: %s".formatted(key, inner, each)));
                } else {
                    lines.add("%s: %s".formatted(key, value));
                }
            });
            return lines;
        }

        Map<String, Object> toJson() {
            Map<String, Object> json = new LinkedHashMap<>();
            json.put("version", version);
            json.put("backend", backend.name());
            json.put("dtype", dtype.name());
            json.put("settings", JSON.convertValue(settings, Map.class));
            json.put("model", ReleasedConfig.toJson(config));
            json.put("train_digest", trainDigest);
            json.put("held_out_digest", heldOutDigest);
            return json;
        }
    }

    /**
     * How the ranks share the work from a step on, for the record: it decides no number but by rounding.
     *
     * @param afterStep steps made before; 0 at the beginning
     * @param layout of the ranks
     * @param sharding what those that read different data share
     */
    public record Ranks(long afterStep, String layout, String sharding) {
        static Ranks of(Map<?, ?> json) {
            return new Ranks(((Number) json.get(AFTER_STEP)).longValue(), String.valueOf(json.get(LAYOUT)),
                    String.valueOf(json.get(SHARDING)));
        }

        Map<String, Object> toJson() {
            Map<String, Object> json = new LinkedHashMap<>();
            json.put(AFTER_STEP, afterStep);
            json.put(LAYOUT, layout);
            json.put(SHARDING, sharding);
            return json;
        }
    }

    private final Path path;
    private final Description description;
    private final List<Ranks> ranks;

    private RunFolder(Path path, Description description, List<Ranks> ranks) {
        this.path = path;
        this.description = description;
        this.ranks = List.copyOf(ranks);
    }

    /**
     * Starts a new run.
     *
     * @throws InputException if something is there already
     */
    public static RunFolder create(Path path, Description description, Ranks ranks) {
        try {
            if (Files.exists(path) && !Files.isDirectory(path)) {
                throw new InputException(path.toString(), "is a file, and a run is a folder", "give another --out");
            }
            if (Files.exists(path) && !isEmpty(path)) {
                throw new InputException(path.toString(), "exists and is not empty",
                        "give another --out, or continue it with --resume " + path);
            }
            Files.createDirectories(path);
        } catch (IOException e) {
            throw new InputException(path.toString(), "cannot be made: " + e.getMessage(), "give another --out", e);
        }
        RunFolder folder = new RunFolder(path, description, List.of());
        folder.describe(ranks);
        return folder;
    }

    /** A run that another rank has just started, or opened, on a file system that all share. */
    public static RunFolder shared(Path path, Description description) {
        return new RunFolder(path, description, List.of());
    }

    /** Whether a path is the folder of a run. */
    public static boolean isRun(Path path) {
        return Files.isRegularFile(path.resolve(RUN));
    }

    /**
     * Opens a run that was started earlier.
     *
     * @throws InputException if it is none
     */
    public static RunFolder open(Path path) {
        Path file = path.resolve(RUN);
        if (!isRun(path)) {
            throw new InputException(path.toString(), "is not a run folder: it has no " + RUN,
                    "give the folder that tnl train printed");
        }
        Map<String, Object> json = HfConfig.read(file).values();
        try {
            TrainSettings settings = JSON.convertValue(json.get("settings"), TrainSettings.class);
            Map<?, ?> model = (Map<?, ?>) json.get("model");
            Map<String, Object> keys = new LinkedHashMap<>();
            model.forEach((key, value) -> keys.put(String.valueOf(key), value));
            return new RunFolder(path, new Description(String.valueOf(json.get("version")), settings,
                    ReleasedConfig.parse(keys, Boolean.TRUE.equals(model.get("tie_word_embeddings"))),
                    BackendKind.valueOf(String.valueOf(json.get("backend"))),
                    DType.valueOf(String.valueOf(json.get("dtype"))), String.valueOf(json.get("train_digest")),
                    String.valueOf(json.get("held_out_digest"))), ranks(json.get(RANKS)));
        } catch (IllegalArgumentException | ClassCastException | NullPointerException e) {
            throw new InputException(file.toString(), "is damaged: " + e.getMessage(), "start the run again", e);
        }
    }

    /** None in the records of runs made before there were any. */
    private static List<Ranks> ranks(Object json) {
        return json == null ? List.of() : ((List<?>) json).stream().map(each -> Ranks.of((Map<?, ?>) each)).toList();
    }

    /** The same run with another description, to be written by {@link #describe}. */
    public RunFolder with(Description changed) {
        return new RunFolder(path, changed, ranks);
    }

    /** Writes the description down, and how the ranks share the work from now on, if that is another way than before. */
    public void describe(Ranks now) {
        List<Ranks> all = new ArrayList<>(ranks);
        if (all.isEmpty() || !now.equals(new Ranks(now.afterStep, all.getLast().layout, all.getLast().sharding))) {
            all.add(now);
        }
        Map<String, Object> json = new LinkedHashMap<>(description.toJson());
        json.put(RANKS, all.stream().map(Ranks::toJson).toList());
        HfConfig.of(json).write(path.resolve(RUN));
    }

    /** How the ranks shared the work when the folder was opened, from the first step on. */
    public List<Ranks> ranks() {
        return ranks;
    }

    public Path path() {
        return path;
    }

    public Description description() {
        return description;
    }

    /** The finished model. */
    public Path model() {
        return path.resolve("model");
    }

    /**
     * The model folder that the run stands for: the finished model, or the last checkpoint while the run goes on.
     *
     * @throws InputException if there is none yet
     */
    public Path newestModel() {
        ImmutableList<RunCheckpoints.Found> saved = checkpoints().complete();
        boolean finished = saved.isEmpty() || saved.getLast().step() >= description.settings().steps();
        if (finished && Files.isDirectory(model())) {
            return model();
        }
        if (saved.isEmpty()) {
            throw new InputException(path.toString(), "has no model yet", "wait for the run's first checkpoint");
        }
        return saved.getLast().path();
    }

    /** Whether the finished model is there. */
    public boolean isFinished() {
        return Files.isDirectory(model()) && newestModel().equals(model());
    }

    /** The log, ready to go on after a step. */
    public MetricsLog metrics(long lastStep) throws IOException {
        return MetricsLog.open(path.resolve(METRICS), lastStep);
    }

    /** Draws what the log holds. */
    public Path plot() throws IOException {
        List<JsonNode> lines = MetricsLog.read(path.resolve(METRICS));
        Path file = path.resolve(PLOT);
        AtomicFiles.write(file,
                new LossPlot(String.valueOf(path.getFileName()), MetricsLog.curve(lines, MetricsLog.LOSS),
                        MetricsLog.curve(lines, MetricsLog.HELD_OUT_LOSS),
                        MetricsLog.curve(lines, MetricsLog.LEARNING_RATE))
                        .svg());
        return file;
    }

    /** Saves everything that the run needs to go on from here, bit for bit. Every rank calls this. */
    public Path save(Gathering ranks, TrainingRun run, Precision precision, Tokenizer tokenizer) {
        TrainSettings settings = description.settings();
        long step = run.trainer().step();
        RunState state = new RunState(step, step * settings.tokensPerStep(), settings.seed(),
                HfConfig.of(description.toJson()).digest(), Map.of("position", run.batches().position()),
                Map.of("name", settings.schedule()), Map.of(), Map.of("tnl", description.version()));
        return checkpoints().save(ranks, state, ModelFolder.writer(description.config(), run.weights(), precision),
                Parts.written(run.optimizer(), run.weights()), tokenizer::save);
    }

    /**
     * Saves the model alone, in place of the one that stood there before the run was given more steps. Every rank calls
     * this.
     */
    public void saveModel(Gathering ranks, TrainingRun run, Precision precision, Tokenizer tokenizer) {
        ModelFolder.writer(description.config(), run.weights(), precision).replace(ranks, model(), tokenizer::save);
    }

    /**
     * Brings a run to where its last complete checkpoint was taken, whatever the layout that wrote it. Every rank calls
     * this, and reads what it keeps.
     *
     * @throws InputException if there is none, or it does not hold what was written
     */
    public void restore(Gathering ranks, TrainingRun run) {
        Path latest = latest(ranks);
        try (RunCheckpoint checkpoint = RunCheckpoint.open(latest)) {
            long step = checkpoint.state().step();
            if (step > description.settings().steps()) {
                throw new InputException(path.toString(), "has %d steps already".formatted(step), "give more --steps");
            }
            checkpoint.verify(ranks);
            checkpoint.model().readInto(Parts.kept(run.weights()));
            checkpoint.readOptimizer(Parts.kept(run.optimizer()));
            run.trainer().resumeAfter(step);
            run.batches().seek(position(checkpoint.state(), latest));
        }
    }

    /** As rank 0 sees it: who looks a moment later may see another one. */
    private Path latest(Gathering ranks) {
        byte[] name = ranks.rank() > 0 ? new byte[0]
                : checkpoints().latest().orElseThrow(() -> new InputException(path.toString(),
                        "has no complete checkpoint", "start the run again in another folder")).getFileName()
                        .toString().getBytes(StandardCharsets.UTF_8);
        return path.resolve(CHECKPOINTS)
                .resolve(new String(ranks.broadcast("the checkpoint", name, 0), StandardCharsets.UTF_8));
    }

    private static long position(RunState state, Path checkpoint) {
        if (state.data().get("position") instanceof Number position) {
            return position.longValue();
        }
        throw new InputException(checkpoint.toString(), "does not say where the data stood",
                "move it away to resume from an earlier checkpoint");
    }

    private RunCheckpoints checkpoints() {
        return new RunCheckpoints(path.resolve(CHECKPOINTS), description.settings().keep());
    }

    private static boolean isEmpty(Path folder) throws IOException {
        try (var entries = Files.list(folder)) {
            return entries.findAny().isEmpty();
        }
    }
}
