package org.transnormer.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.transnormer.InputException;
import org.transnormer.backend.Backend;
import org.transnormer.inference.Generator;
import org.transnormer.inference.RobustInference;
import org.transnormer.inference.Sampler;
import org.transnormer.inference.SamplerConfig;
import org.transnormer.launch.Job;
import org.transnormer.launch.Phase;
import org.transnormer.train.ModelSource;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Continues a text. The continuation alone goes to standard output, everything else to standard error. */
@Command(name = "generate", mixinStandardHelpOptions = true, sortOptions = false, abbreviateSynopsis = true,
        description = "Continue a text; prints what follows the prompt as it is made.", footer = {"", "Examples:",
            "  tnl generate runs/books --prompt \"Once upon a time\"",
            "  tnl generate model/ --prompt-file chapter.txt --greedy --tokens 1000"})
final class GenerateCommand implements Callable<Integer> {
    /** Tokens of a prompt that are read at a time: enough for the products to run at full rate. */
    private static final int CHUNK = 256;

    @Spec
    private CommandSpec spec;

    @Parameters(paramLabel = "MODEL", description = "model folder, or run folder of tnl train")
    private Path path;

    @ArgGroup
    private Prompt prompt = new Prompt();

    /** Where the beginning of the text comes from. */
    static final class Prompt {
        @Option(names = "--prompt", paramLabel = "TEXT", description = "beginning of the text; default: none")
        private String text = "";
        @Option(names = "--prompt-file", paramLabel = "FILE", description = "file with the beginning, UTF-8")
        private Path file;

        String read() throws IOException {
            try {
                return file == null ? text : Files.readString(file);
            } catch (CharacterCodingException e) {
                throw new InputException(file.toString(), "is not UTF-8", "convert it first", e);
            }
        }
    }

    @Option(names = "--tokens", paramLabel = "N", description = "most tokens to generate; default ${DEFAULT-VALUE}",
            defaultValue = "256")
    private int tokens;

    @Option(names = "--number", paramLabel = "N", description = "texts, separated by lines of ---; default 1",
            defaultValue = "1")
    private int number;

    @ArgGroup
    private Heat heat = new Heat();

    /** How much chance there is. */
    static final class Heat {
        @Option(names = "--temperature", paramLabel = "X", description = "0 or more; default 0.8")
        private double temperature = 0.8;
        @Option(names = "--greedy", description = "always the most probable token")
        private boolean greedy;
    }

    @Option(names = "--top-k", paramLabel = "N", description = "only the N most probable tokens; default 0: all",
            defaultValue = "0")
    private int topK;

    @Option(names = "--top-p", paramLabel = "X",
            description = "only the most probable tokens that together reach X; default ${DEFAULT-VALUE}",
            defaultValue = "0.95")
    private double topP;

    @Option(names = "--repetition-penalty", paramLabel = "X",
            description = "above 1: tokens of the last 64 become less probable; default 1", defaultValue = "1")
    private double repetitionPenalty;

    @Option(names = "--seed", paramLabel = "N",
            description = "same seed, same text; default ${DEFAULT-VALUE}", defaultValue = "1")
    private long seed;

    @Mixin
    private BackendOptions backendOptions;

    @Mixin
    private RankOptions ranks;

    @Override
    public Integer call() throws IOException {
        return ranks.startsOthers() ? ranks.start(spec, backendOptions)
                : ranks.work(spec, backendOptions, this::generate);
    }

    private int generate(Job job) throws IOException {
        atLeastOne("--tokens", tokens);
        atLeastOne("--number", number);
        SamplerConfig sampling = new SamplerConfig(heat.greedy ? 0 : heat.temperature, topK, topP, repetitionPenalty,
                64, seed);
        String beginning = prompt.read();
        PrintWriter err = spec.commandLine().getErr();
        job.agree(spec.root().commandLine().getParseResult().originalArgs());
        try (ModelSource source = ModelSource.open(path);
                Backend backend = backendOptions.open()) {
            int promptTokens = source.tokenizer().encode(beginning).size() + 1;
            // the last token is printed, not read
            source.config().checkSequence(promptTokens + tokens - 1L);
            source.notes().forEach(note -> err.println("note: " + note));
            err.printf("model: %s, %,d parameters%n", source.folder(), source.config().parameterCount());
            err.println(backendOptions.describe(backend));
            RobustInference inference =
                    new RobustInference(backend, source.load(backend, RankOptions.split(job, backend), CHUNK), 1);
            backend.commit();
            job.phase(Phase.EVALUATING);
            Sampler sampler = new Sampler(sampling, source.tokenizer().vocabularySize());
            generate(new Generator(inference, source.tokenizer(), sampler), beginning,
                    promptTokens, err);
        } catch (NobodyReads e) {
            // As other programs do whose reader, head say, has seen enough; the other ranks cannot know.
            job.quit(ExitCode.OK);
        }
        return ExitCode.OK;
    }

    private void generate(Generator generator, String beginning, int promptTokens, PrintWriter err) {
        PrintWriter out = spec.commandLine().getOut();
        for (int text = 0; text < number; text++) {
            if (text > 0) {
                out.println("---");
            }
            Rates rates = new Rates();
            Generator.Result result = generator.generate(beginning, tokens, text, piece -> {
                rates.token();
                out.print(piece);
                out.flush();
                if (out.checkError()) {
                    throw new NobodyReads();
                }
            });
            out.println();
            out.flush();
            err.println(rates.describe(promptTokens, result));
            err.flush();
        }
    }

    private static void atLeastOne(String option, int value) {
        if (value < 1) {
            throw new IllegalArgumentException("%s must be 1 or more, not %d".formatted(option, value));
        }
    }

    /** The clock of one text: until the first token, the prompt is read. */
    private static final class Rates {
        private final long start = System.nanoTime();
        private long first;

        void token() {
            if (first == 0) {
                first = System.nanoTime();
            }
        }

        String describe(int promptTokens, Generator.Result result) {
            double reading = (first - start) / 1e9;
            double writing = (System.nanoTime() - first) / 1e9;
            return "prompt: %,d tokens, %,.0f tokens/s; generated: %,d tokens, %s tokens/s%s".formatted(promptTokens,
                    promptTokens / reading, result.tokens(),
                    result.tokens() > 1 ? "%,.0f".formatted((result.tokens() - 1) / writing) : "-",
                    result.ended() ? ", and the end of the text" : "");
        }
    }

    /** Standard output was closed. */
    private static final class NobodyReads extends RuntimeException {
        private static final long serialVersionUID = 1L;

        NobodyReads() {
            super(null, null, false, false);
        }
    }
}
