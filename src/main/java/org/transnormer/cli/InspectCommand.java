package org.transnormer.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.transnormer.InputException;
import org.transnormer.backend.Precision;
import org.transnormer.checkpoint.HuggingFace;
import org.transnormer.checkpoint.Safetensors;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Weights;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.train.ModelFolder;
import org.transnormer.train.RunFolder;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code tnl inspect}: what a file or folder holds, from its headers alone unless statistics are asked for. */
@Command(name = "inspect", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Show what a model folder, run folder or safetensors file holds.", footer = {"", "Examples:",
            "  tnl inspect runs/books", "  tnl inspect model/ --stats", "  tnl inspect model.safetensors"})
final class InspectCommand implements Callable<Integer> {
    private static final int LONGEST_TEXT = 400;

    @Spec
    private CommandSpec spec;

    @Parameters(paramLabel = "PATH", description = "model folder, run folder of tnl train, or .safetensors file")
    private Path path;

    @Option(names = "--stats", description = "read every value: least, largest, RMS, and which are not finite")
    private boolean statistics;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        if (!Files.isDirectory(path)) {
            file(out);
        } else if (RunFolder.isRun(path)) {
            RunFolder run = RunFolder.open(path);
            run(run, out);
            folder(run.newestModel(), out);
        } else {
            folder(path, out);
        }
        out.flush();
        return ExitCode.OK;
    }

    private void file(PrintWriter out) {
        try (Safetensors file = Safetensors.open(path)) {
            out.printf("safetensors file %s%n", path);
            if (file.metadata().notEmpty()) {
                out.println("metadata");
                file.metadata().keysView().toSortedList().forEach(key -> pair(out, key, file.metadata().get(key)));
            }
            out.println();
            warn(new TensorTable(file.entries(), file::view).print(statistics, out), out);
        }
    }

    private static void run(RunFolder run, PrintWriter out) {
        RunFolder.Description d = run.description();
        out.printf("run folder %s%n", run.path());
        pair(out, "state", run.isFinished() ? "finished" : "not finished");
        pair(out, "program", "tnl " + d.version());
        pair(out, "backend", "%s %s".formatted(d.backend(), d.dtype()));
        pair(out, "settings", d.settings());
        pair(out, "training data", d.trainDigest());
        pair(out, "held-out data", d.heldOutDigest());
        out.println();
    }

    private void folder(Path folder, PrintWriter out) {
        try (HuggingFace model = HuggingFace.open(folder)) {
            out.printf("model folder %s%n", folder);
            out.println("config");
            for (Map.Entry<String, Object> entry : model.config().values().entrySet()) {
                pair(out, entry.getKey(), entry.getValue());
            }
            out.println();
            List<String> notFinite = new TensorTable(model.names().collect(model::entry), model::view)
                    .print(statistics, out);
            parameters(model, out);
            model.notes().forEach(note -> out.println("warning: " + note));
            warn(notFinite, out);
        }
    }

    /** The parameter count of the configuration, if that is the model beside it. */
    private static void parameters(HuggingFace model, PrintWriter out) {
        try (PlanMemory plan = new PlanMemory()) {
            ModelConfig config = ModelFolder.config(model);
            ModelFolder.check(model, new Weights(config, Precision.F32, plan, false));
            out.printf("%,d parameters, the head %s%n", config.parameterCount(),
                    config.tiedHead() ? "tied to the embedding" : "separate");
        } catch (InputException e) {
            out.println("warning: " + e.getMessage());
        } catch (ArithmeticException e) {
            out.println("warning: the configuration describes a model larger than any memory");
        }
    }

    private static void warn(List<String> notFinite, PrintWriter out) {
        notFinite.forEach(name -> out.println("warning: " + name + " holds values that are not finite"));
    }

    private static void pair(PrintWriter out, String key, Object value) {
        out.printf("  %-26s %s%n", TensorTable.printable(key),
                TensorTable.printable(String.valueOf(value), LONGEST_TEXT));
    }
}
