package org.transnormer.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.transnormer.checkpoint.Safetensors;
import org.transnormer.tensor.Tensor;

/** The tensors of a file or folder, one a line, and their sums. Values are read only for statistics, where they lie. */
final class TensorTable {
    private static final int LONGEST_NAME = 70;

    private final List<Safetensors.Entry> entries;
    private final Function<String, Tensor> views;

    /** @param views the values of a tensor, or null if they are none that tensors have */
    TensorTable(Iterable<Safetensors.Entry> entries, Function<String, Tensor> views) {
        this.entries = new ArrayList<>();
        entries.forEach(this.entries::add);
        this.views = views;
    }

    /**
     * Prints the table.
     *
     * @param statistics whether to read the values and print their least, largest and RMS
     * @return names of tensors that hold values which are not finite
     */
    List<String> print(boolean statistics, PrintWriter out) {
        int width = entries.stream().mapToInt(e -> printable(e.name()).length()).max().orElse(0);
        int shapes = Math.max(5, entries.stream().mapToInt(e -> e.shape().toString().length()).max().orElse(0));
        String row = "%-" + Math.max(width, 6) + "s  %-7s  %-" + shapes + "s  %15s";
        out.printf(row + "%s%n", "tensor", "type", "shape", "bytes",
                statistics ? "  %10s  %10s  %10s".formatted("least", "largest", "RMS") : "");
        List<String> notFinite = new ArrayList<>();
        Map<String, Long> byType = new TreeMap<>();
        long elements = 0;
        long bytes = 0;
        for (Safetensors.Entry e : entries) {
            out.printf(row, printable(e.name()), e.dtype(), e.shape(), "%,d".formatted(e.end() - e.begin()));
            if (statistics && !values(e, out)) {
                notFinite.add(printable(e.name()));
            }
            out.println();
            byType.merge(e.dtype().name(), e.size(), Long::sum);
            elements += e.size();
            bytes += e.end() - e.begin();
        }
        out.printf("%,d tensors, %,d elements (%s), %,d bytes%n", entries.size(), elements,
                byType.entrySet().stream().map(e -> "%,d %s".formatted(e.getValue(), e.getKey()))
                        .collect(Collectors.joining(", ")),
                bytes);
        return notFinite;
    }

    /** A name or text from a file as it may be shown: control characters replaced, long text cut. */
    static String printable(String text) {
        return printable(text, LONGEST_NAME);
    }

    static String printable(String text, int longest) {
        String shown = text.length() <= longest ? text
                : text.substring(0, longest) + "... (%,d characters)".formatted(text.length());
        return shown.replaceAll("\\p{Cntrl}", "?");
    }

    /** Prints a tensor's statistics; returns whether all its values are finite. */
    private boolean values(Safetensors.Entry e, PrintWriter out) {
        Tensor view = views.apply(e.name());
        if (view == null || e.size() == 0) {
            return true;
        }
        Tensor flat = view.reshape(e.size());
        double least = Double.POSITIVE_INFINITY;
        double largest = Double.NEGATIVE_INFINITY;
        double squares = 0;
        boolean finite = true;
        for (long i = 0; i < flat.size(); i++) {
            double x = flat.get(i);
            least = Math.min(least, x);
            largest = Math.max(largest, x);
            squares += x * x;
            finite &= Double.isFinite(x);
        }
        out.printf("  %10.3g  %10.3g  %10.3g", least, largest, Math.sqrt(squares / flat.size()));
        return finite;
    }
}
