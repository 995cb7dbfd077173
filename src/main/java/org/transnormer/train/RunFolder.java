package org.transnormer.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
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
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.plot.LossPlot;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tokenizer.Tokenizer;

/**
 * What a training run leaves behind, and all that is needed to repeat or to resume it: {@code run.json} (the resolved
 * configuration), {@code metrics.jsonl}, {@code loss.svg}, {@code checkpoints/}, {@code model/}. SPEC section 6.3.
 */
public final class RunFolder {
    private static final String RUN = "run.json";
    private static final String METRICS = "metrics.jsonl";
    private static final String PLOT = "loss.svg";
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

    private final Path path;
    private final Description description;

    private RunFolder(Path path, Description description) {
        this.path = path;
        this.description = description;
    }

    /**
     * Starts a new run.
     *
     * @throws InputException if something is there already
     */
    public static RunFolder create(Path path, Description description) {
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
        RunFolder folder = new RunFolder(path, description);
        folder.describe();
        return folder;
    }

    /** A run that another rank has just started, or opened, on a file system that all share. */
    public static RunFolder shared(Path path, Description description) {
        return new RunFolder(path, description);
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
                    String.valueOf(json.get("held_out_digest"))));
        } catch (IllegalArgumentException | ClassCastException | NullPointerException e) {
            throw new InputException(file.toString(), "is damaged: " + e.getMessage(), "start the run again", e);
        }
    }

    /** The same run with another description, to be written by {@link #describe}. */
    public RunFolder with(Description changed) {
        return new RunFolder(path, changed);
    }

    /** Writes the description down. */
    public void describe() {
        HfConfig.of(description.toJson()).write(path.resolve(RUN));
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

    /** Saves everything that the run needs to go on from here, bit for bit. */
    public Path save(TrainingRun run, Precision precision, Tokenizer tokenizer) {
        TrainSettings settings = description.settings();
        long step = run.trainer().step();
        RunState state = new RunState(step, step * settings.tokensPerStep(), settings.seed(),
                HfConfig.of(description.toJson()).digest(), Map.of("position", run.batches().position()),
                Map.of("name", settings.schedule()), Map.of(), Map.of("tnl", description.version()));
        return checkpoints().save(state, ModelFolder.writer(description.config(), run.weights(), precision),
                optimizerTensors(run), tokenizer::save);
    }

    /** Saves the model alone, in place of the one that stood there before the run was given more steps. */
    public void saveModel(TrainingRun run, Precision precision, Tokenizer tokenizer) {
        ModelFolder.writer(description.config(), run.weights(), precision).replace(model(), tokenizer::save);
    }

    /**
     * Brings a run to where its last complete checkpoint was taken.
     *
     * @throws InputException if there is none
     */
    public void restore(TrainingRun run) {
        Path latest = checkpoints().latest().orElseThrow(() -> new InputException(path.toString(),
                "has no complete checkpoint", "start the run again in another folder"));
        try (RunCheckpoint checkpoint = RunCheckpoint.open(latest)) {
            long step = checkpoint.state().step();
            if (step > description.settings().steps()) {
                throw new InputException(path.toString(), "has %d steps already".formatted(step), "give more --steps");
            }
            checkpoint.model().readInto(ModelFolder.tensors(run.weights()));
            checkpoint.readOptimizer(optimizerTensors(run));
            run.trainer().resumeAfter(step);
            run.batches().seek(position(checkpoint.state(), latest));
        }
    }

    private static long position(RunState state, Path checkpoint) {
        if (state.data().get("position") instanceof Number position) {
            return position.longValue();
        }
        throw new InputException(checkpoint.toString(), "does not say where the data stood",
                "move it away to resume from an earlier checkpoint");
    }

    private RunCheckpoints checkpoints() {
        return new RunCheckpoints(path.resolve("checkpoints"), description.settings().keep());
    }

    /**
     * Master weights where the model's files do not hold them, and the moments, under their parameters' names. The
     * files hold rounded weights where the optimizer has its own, and where the weights are F64.
     */
    private static List<Tensor> optimizerTensors(TrainingRun run) {
        List<Tensor> tensors = new ArrayList<>();
        for (Optimizer.State state : run.optimizer().states()) {
            if (state.m().size() < state.group().size()) {
                throw new IllegalStateException("this rank keeps a share of the optimizer's state only");
            }
            for (Parameter p : state.group().parameters()) {
                if (state.master() != state.group().valueShare() || state.master().dtype() == DType.F64) {
                    tensors.add(p.exported(state.master()).named("master." + p.name()));
                }
                tensors.add(p.exported(state.m()).named("m." + p.name()));
                tensors.add(p.exported(state.v()).named("v." + p.name()));
            }
        }
        return tensors;
    }

    private static boolean isEmpty(Path folder) throws IOException {
        try (var entries = Files.list(folder)) {
            return entries.findAny().isEmpty();
        }
    }
}
