package org.transnormer.verify;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.model.ModelConfig;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Runs a backend over a golden case (training forward, backward, prefill, decoding) and compares every tensor. SPEC
 * section 6.5. With F64 and F32 weights the golden tensors are the reference; rounded weights make another model, of
 * which the scalar spec in F64 is the reference, and where activations are rounded too the spec with the same roundings, or
 * where a backend rounds elsewhere the file again, beside the errors that plain PyTorch has in BF16.
 */
public final class GoldenVerifier {

    /**
     * One compared tensor.
     *
     * @param composed whether the value is from the composed parts, because the fused path never writes it
     * @param yardstick largest error of the independent implementation's own F32 run, or NaN where it is not known
     */
    public record Row(Comparison comparison, boolean composed, double yardstick) {
    }

    /**
     * What came out.
     *
     * @param name of the case
     * @param backend that ran, for people
     * @param reference what it was compared with, for people
     * @param rows in the order of computation
     * @param notes what was not compared
     */
    public record Outcome(String name, String backend, String reference, List<Row> rows, List<String> notes) {

        /** Whether all tensors agree. */
        public boolean ok() {
            return first().isEmpty();
        }

        /** The first tensor that differs, in the order of computation. */
        public Optional<Comparison> first() {
            return rows.stream().map(Row::comparison).filter(c -> !c.ok()).findFirst();
        }
    }

    private GoldenVerifier() {
    }

    /**
     * Verifies one case.
     *
     * @param newBackend makes the backend, which is closed again
     * @param composedOnly whether the forward runs by the composed parts only; otherwise by the fused path too, whose
     *     tensors are the ones compared where it writes them
     */
    public static Outcome verify(GoldenCase golden, Supplier<Backend> newBackend, boolean composedOnly) {
        return verify(golden, newBackend, composedOnly, _ -> {
        });
    }

    /**
     * The same.
     *
     * @param progress is told what begins, if it may take minutes
     */
    public static Outcome verify(GoldenCase golden, Supplier<Backend> newBackend, boolean composedOnly,
            Consumer<String> progress) {
        progress.accept("the run that is verified");
        try (GoldenRun run = new GoldenRun(newBackend.get(), golden, golden::value, composedOnly).run();
                SpecRuns specs = new SpecRuns(golden, run, composedOnly, progress)) {
            Precision precision = run.precision();
            if (precision.activations() == DType.F64) {
                return compare(golden, run, "the file", golden::value, GoldenTolerance.F64);
            }
            if (precision.activations() == DType.F32) {
                return inFloat(golden, run, specs, progress);
            }
            if (!run.roundsWhereTheSpecDoes()) {
                return golden.plainBf16() != null ? besidePyTorch(golden, run)
                        : besideSpec(golden, run, specs, progress);
            }
            progress.accept("the spec, rounded to %s".formatted(precision.describe()));
            GoldenRun rounded = specs.rounded();
            specs.run();
            return compare(golden, run,
                    "the spec in f64 on the same bf16-rounded weights, all it computes rounded likewise",
                    rounded::output, new GoldenTolerance.Exact());
        }
    }

    /** Host memory that making a case and verifying a backend with it take at most. */
    public static long bytes(ModelConfig config, int sequences, int tokens, BackendKind kind, Precision precision) {
        GoldenLayout layout = new GoldenLayout(config, sequences, tokens);
        long parameters = layout.bytes(GoldenLayout.Part.PARAMETER);
        long gradients = layout.bytes(GoldenLayout.Part.PARAMETER_GRADIENT);
        long file = layout.bytes(GoldenLayout.Part.values());
        long outputs = file - parameters;
        long model = GoldenRun.modelBytes(config, sequences, tokens);
        long spec = model + outputs - gradients;
        long verified = outputs + (kind == BackendKind.CUDA ? 0 : model);
        return file + Math.max(parameters + spec, verified + SpecRuns.most(kind, precision) * spec);
    }

    /** BF16 that rounds elsewhere than the spec: no further off the file than plain PyTorch is. */
    static Outcome besidePyTorch(GoldenCase golden, GoldenRun run) {
        PlainBf16 plain = golden.plainBf16();
        Outcome outcome = compare(golden, run, "the file, beside the errors of plain %s in bf16".formatted(
                plain.maker()), golden::value, new GoldenTolerance.BesidePyTorch(plain));
        List<String> notes = new ArrayList<>(outcome.notes());
        plain.summary(outcome.rows().stream().map(Row::comparison).toList()).ifPresent(notes::add);
        return new Outcome(outcome.name(), outcome.backend(), outcome.reference(), outcome.rows(), notes);
    }

    /** The same where no file tells PyTorch's errors. */
    private static Outcome besideSpec(GoldenCase golden, GoldenRun run, SpecRuns specs, Consumer<String> progress) {
        progress.accept("the spec, rounded to %s, and with tensors rounded at random: how far rounding carries here"
                .formatted(run.precision().describe()));
        GoldenRun rounded = specs.rounded();
        List<GoldenRun> scattered = specs.scattered();
        specs.run();
        return compare(golden, run, "the file, beside the errors of the spec in bf16", golden::value,
                new GoldenTolerance.BesideSpec(rounded, scattered));
    }

    /** F32: with fixed bounds, or where they do not hold, with those that the spec's own rounding errors give. */
    private static Outcome inFloat(GoldenCase golden, GoldenRun run, SpecRuns specs, Consumer<String> progress) {
        boolean itsWeights = run.precision().weights() == DType.F32;
        String reference = itsWeights ? "the file" : "the spec in f64 on the same bf16-rounded weights";
        GoldenRun spec = null;
        if (!itsWeights) {
            progress.accept("the spec in f64 on the weights of the run");
            spec = specs.exact();
            specs.run();
        }
        Function<String, Tensor> wanted = itsWeights ? golden::value : spec::output;
        Outcome outcome = compare(golden, run, reference, wanted, GoldenTolerance.F32);
        if (outcome.ok()) {
            return outcome;
        }
        progress.accept("the spec in f64, and with tensors rounded at random: how far rounding carries here");
        GoldenRun exact = spec == null ? specs.exact() : spec;
        List<GoldenRun> scattered = specs.scattered();
        specs.run();
        return compare(golden, run, reference + ", rounding errors of this case measured", wanted,
                new GoldenTolerance.Measured(exact, scattered, golden.config().width()));
    }

    private static Outcome compare(GoldenCase golden, GoldenRun run, String reference, Function<String, Tensor> wanted,
            GoldenTolerance tolerance) {
        List<Row> rows = golden.names().parallelStream().map(name -> {
            Tensor own = run.precision().weights() == DType.BF16 ? null : golden.yardstick(name);
            return new Row(tolerance.compare(name, run.output(name), wanted.apply(name)), run.isComposed(name),
                    own == null ? Double.NaN : Comparison.of(name, own, golden.value(name), _ -> 0, 1).maxError());
        }).toList();
        return new Outcome(golden.name(), run.describe(), reference, rows, golden.notes());
    }
}
