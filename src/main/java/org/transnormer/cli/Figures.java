package org.transnormer.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Figures and tables, for people or as JSON. */
class Figures {

    /**
     * A column of a table.
     *
     * @param name unit included
     * @param format of its values
     */
    record Column(String name, String format) {
    }

    private final Map<String, Object> results = new LinkedHashMap<>();
    private final List<String> lines = new ArrayList<>();

    /** One figure; the label says the unit. */
    final void figure(String label, String format, double value) {
        results.put(key(label), value);
        lines.add("%-32s %12s".formatted(label, format.formatted(value)));
    }

    final void table(String label, List<Column> columns, List<List<Object>> rows) {
        List<Map<String, Object>> objects = new ArrayList<>();
        int[] widths = columns.stream().mapToInt(column -> column.name().length()).toArray();
        List<String[]> cells = new ArrayList<>();
        cells.add(columns.stream().map(Column::name).toArray(String[]::new));
        for (List<Object> row : rows) {
            Map<String, Object> object = new LinkedHashMap<>();
            String[] texts = new String[widths.length];
            for (int c = 0; c < widths.length; c++) {
                object.put(key(columns.get(c).name()), row.get(c));
                texts[c] = columns.get(c).format().formatted(row.get(c));
                widths[c] = Math.max(widths[c], texts[c].length());
            }
            objects.add(object);
            cells.add(texts);
        }
        results.put(key(label), objects);
        if (!lines.isEmpty()) {
            lines.add("");
        }
        for (String[] row : cells) {
            StringBuilder line = new StringBuilder();
            for (int c = 0; c < widths.length; c++) {
                // Names to the left, numbers to the right.
                String align = c == 0 ? "%-" : "  %";
                line.append((align + widths[c] + "s").formatted(row[c]));
            }
            lines.add(line.toString());
        }
    }

    /** For people, one line a figure and a row. */
    final void printLines(PrintWriter out) {
        lines.forEach(out::println);
    }

    /** By keys for programs. */
    final Map<String, Object> results() {
        return results;
    }

    static String json(Map<String, Object> all) {
        try {
            return new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(all);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("strings and numbers can always be written", e);
        }
    }

    /** "forward ns/token" is forward_ns_per_token in JSON. */
    private static String key(String label) {
        return label.toLowerCase(Locale.ROOT).replace("/", " per ").replaceAll("[^a-z0-9]+", "_");
    }

    static List<Column> columns(String... namesAndFormats) {
        List<Column> columns = new ArrayList<>();
        for (int i = 0; i < namesAndFormats.length; i += 2) {
            columns.add(new Column(namesAndFormats[i], namesAndFormats[i + 1]));
        }
        return columns;
    }

    static List<Object> row(Object... values) {
        return Arrays.asList(values);
    }
}
