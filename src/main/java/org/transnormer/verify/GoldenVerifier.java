package org.transnormer.verify;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import org.transnormer.backend.Backend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;

/**
 * Runs a backend over a golden case (training forward, backward, prefill, decoding) and compares every tensor. SPEC
 * section 6.5. With F64 and F32 weights the golden tensors are the reference; rounded weights make another model, of
 * which the scalar spec in F64 is the reference.
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
        try (Backend backend = newBackend.get(); GoldenRun run = new GoldenRun(backend, golden, golden::value)) {
            run.run(composedOnly);
            Precision precision = backend.precision();
            if (precision.weights() == DType.BF16) {
                try (Backend spec = new ScalarBackend(Precision.F64, new HostMemory());
                        GoldenRun reference = new GoldenRun(spec, golden, run::value)) {
                    reference.run(true);
                    return compare(golden, describe(backend, composedOnly),
                            "the spec in f64 on the same bf16-rounded weights", precision, run, reference);
                }
            }
            return compare(golden, describe(backend, composedOnly), "the file", precision, run, null);
        }
    }

    private static String describe(Backend backend, boolean composedOnly) {
        return backend.describe() + (composedOnly ? ", composed parts only" : "");
    }

    /** @param spec the reference, or null: the file is */
    private static Outcome compare(GoldenCase golden, String backend, String reference, Precision precision,
            GoldenRun run, GoldenRun spec) {
        GoldenTolerance tolerance = GoldenTolerance.of(precision, golden.config());
        List<Row> rows = new ArrayList<>();
        for (String name : golden.names()) {
            Tensor want = spec == null ? golden.value(name) : spec.output(name);
            Tensor own = spec == null ? golden.yardstick(name) : null;
            rows.add(new Row(tolerance.compare(name, run.output(name), want), run.isComposed(name),
                    own == null ? Double.NaN : Comparison.of(name, own, golden.value(name), _ -> 0, 1).maxError()));
        }
        return new Outcome(golden.name(), backend, reference, rows, golden.notes());
    }
}
