package org.transnormer.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.transnormer.InputException;
import org.transnormer.backend.Backend;
import org.transnormer.data.BundledCorpus;
import org.transnormer.data.EvaluationBatches;
import org.transnormer.data.TokenDataset;
import org.transnormer.launch.Job;
import org.transnormer.launch.Phase;
import org.transnormer.model.ModelConfig;
import org.transnormer.train.Evaluation;
import org.transnormer.train.ModelSource;
import org.transnormer.train.RunData;
import org.transnormer.train.RunFolder;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** How well a model predicts a text: each token once, with the whole document before it. */
@Command(name = "eval", mixinStandardHelpOptions = true, sortOptions = false, abbreviateSynopsis = true,
        description = "Measure how well a model predicts a text.", footer = {"", "Examples:",
            "  tnl eval runs/books", "  tnl eval model/ --data held-out.txt"})
final class EvalCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(paramLabel = "MODEL", description = "model folder, or run folder of tnl train")
    private Path path;

    @Option(names = "--data", paramLabel = "PATH", arity = "1..*",
            description = "text files, folders, .jsonl (field text), .gz; default: what the run held out, else the held-out"
                    + " part of the bundled text")
    private List<Path> data = List.of();

    @Option(names = "--sequence", paramLabel = "N",
            description = "tokens read at a time; documents go on across the cut; default ${DEFAULT-VALUE}",
            defaultValue = "256")
    private long sequence;

    @Option(names = "--batch", paramLabel = "N", description = "documents read side by side; default ${DEFAULT-VALUE}",
            defaultValue = "8")
    private int batch;

    @Mixin
    private BackendOptions backendOptions;

    @Mixin
    private RankOptions ranks;

    @Override
    public Integer call() throws IOException {
        return ranks.startsOthers() ? ranks.start(spec, backendOptions)
                : ranks.work(spec, backendOptions, this::evaluate);
    }

    private int evaluate(Job job) {
        job.agree(spec.root().commandLine().getParseResult().originalArgs());
        PrintWriter out = spec.commandLine().getOut();
        try (ModelSource source = ModelSource.open(path);
                Backend backend = backendOptions.open()) {
            source.notes().forEach(note -> out.println("note: " + note));
            out.printf("model: %s, %,d parameters%n", source.folder(), source.config().parameterCount());
            out.println(backendOptions.describe(backend));
            TokenDataset text = text(source, out);
            if (source.config().position() == ModelConfig.Position.ABSOLUTE) {
                out.printf("note: the model has %,d absolute positions: documents are read in windows of at most as "
                        + "many tokens, each by itself%n", source.config().positions());
            }
            EvaluationBatches windows = Evaluation.batches(source.config(), text, batch, sequence);
            Evaluation evaluation = new Evaluation(backend, source.load(backend,
                    RankOptions.split(job, backend), windows.tokens()), text, windows);
            backend.commit();
            job.phase(Phase.EVALUATING);
            long start = System.nanoTime();
            Evaluation.Result result = evaluation.run();
            print(result, (System.nanoTime() - start) / 1e9, out);
        }
        return ExitCode.OK;
    }

    private TokenDataset text(ModelSource source, PrintWriter out) {
        if (!data.isEmpty()) {
            TokenDataset.Loaded loaded = TokenDataset.read(source.tokenizer(), data);
            loaded.report().notices().forEach(notice -> out.println("note: " + notice));
            describe(loaded.data(), "given by --data", out);
            return loaded.data();
        }
        RunFolder run = source.run().orElse(null);
        if (run == null || run.description().settings().data().isEmpty()) {
            TokenDataset heldOut = BundledCorpus.load(source.tokenizer()).heldOut();
            describe(heldOut, "held-out part of the bundled text", out);
            return heldOut;
        }
        TokenDataset heldOut = RunData.read(run.description().settings(), source.tokenizer()).heldOut();
        if (!heldOut.digest().equals(run.description().heldOutDigest())) {
            throw new InputException(run.description().settings().data().toString(),
                    "is no longer the text that the run was started with", "name another text by --data");
        }
        describe(heldOut, "held out by the run", out);
        return heldOut;
    }

    private static void describe(TokenDataset text, String which, PrintWriter out) {
        out.printf("data: %,d documents, %,d bytes, %s%n", text.documents(), text.bytes(), which);
    }

    private static void print(Evaluation.Result result, double seconds, PrintWriter out) {
        out.printf("loss           %.6f nats per token%n", result.nats());
        out.printf("perplexity     %.4f%n", result.perplexity());
        out.printf("bits per byte  %.6f%n", result.bitsPerByte());
        out.printf("targets        %,d%n", result.targets());
        out.printf("bytes          %,d%n", result.bytes());
        out.printf("speed          %,.0f tokens/s%n", result.targets() / seconds);
    }
}
