package org.transnormer.verify;

import java.io.PrintWriter;
import java.util.List;
import java.util.Optional;
import org.transnormer.verify.GoldenVerifier.Outcome;
import org.transnormer.verify.GoldenVerifier.Row;

/** Prints what a verification found: one line per tensor, then the verdict. SPEC section 6.5. */
public final class Report {
    private Report() {
    }

    /** Prints one case. */
    public static void print(Outcome outcome, PrintWriter out) {
        List<Row> rows = outcome.rows();
        int width = rows.stream().mapToInt(r -> label(r).length()).max().orElse(6);
        boolean yardstick = rows.stream().anyMatch(r -> !Double.isNaN(r.yardstick()));
        out.printf("%s: %s, against %s%n", outcome.name(), outcome.backend(), outcome.reference());
        out.printf("%-" + width + "s  %9s  %9s  %9s  %s%s%n", "tensor", "max error", "allowed", "RMS ratio",
                yardstick ? "its f32    " : "", "where");
        for (Row row : rows) {
            Comparison c = row.comparison();
            out.printf("%-" + width + "s  %9.2e  %9.2e  %9.2e  %s%s%s%n", label(row), c.error(), c.allowed(),
                    c.rmsRatio(), yardstick ? yardstick(row) : "", c.position(), c.ok() ? "" : "  DIFFERS");
        }
        if (rows.stream().anyMatch(Row::composed)) {
            out.println("* computed by the composed parts: the fused path never writes it");
        }
        outcome.notes().forEach(out::println);
        long different = rows.stream().filter(r -> !r.comparison().ok()).count();
        Optional<Comparison> first = outcome.first();
        if (first.isEmpty()) {
            out.printf("%s: all %d tensors agree%n", outcome.name(), rows.size());
        } else {
            out.printf("%s: %d of %d tensors differ, first %s%n", outcome.name(), different, rows.size(), first.get());
        }
        out.flush();
    }

    private static String label(Row row) {
        return row.comparison().name() + (row.composed() ? " *" : "");
    }

    private static String yardstick(Row row) {
        return Double.isNaN(row.yardstick()) ? " ".repeat(11) : "%9.2e  ".formatted(row.yardstick());
    }
}
