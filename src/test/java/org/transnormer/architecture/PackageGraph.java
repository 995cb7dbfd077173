package org.transnormer.architecture;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Which package uses which, read from the sources: package, then used package, then one file that shows it. The root
 * package {@code org.transnormer} has the empty name, and a sub-package counts as part of its top one.
 */
record PackageGraph(SortedMap<String, SortedMap<String, String>> uses) {
    private static final Path ROOT = Path.of("src/main/java/org/transnormer");
    private static final Pattern COMMENT_OR_TEXT = Pattern.compile(
            "/\\*.*?\\*/|//[^\\n]*|\"\"\".*?\"\"\"|\"(?:\\\\.|[^\"\\\\\\n])*\"", Pattern.DOTALL);
    private static final Pattern NAME = Pattern.compile("\\borg\\.transnormer\\.(?:([a-z]\\w*)\\.)?(?=[A-Za-z*])");

    static PackageGraph ofSources() {
        try (Stream<Path> files = Files.walk(ROOT)) {
            PackageGraph graph = new PackageGraph(new TreeMap<>());
            files.filter(file -> file.toString().endsWith(".java")).sorted().forEach(graph::read);
            return graph;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void read(Path file) {
        Path inside = ROOT.relativize(file);
        try {
            add(inside.getNameCount() == 1 ? "" : inside.getName(0).toString(), inside.toString(),
                    Files.readString(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    void add(String from, String file, String source) {
        SortedMap<String, String> used = uses.computeIfAbsent(from, name -> new TreeMap<>());
        String code = COMMENT_OR_TEXT.matcher(source).replaceAll(" ").replaceFirst("\\bpackage [^;]*;", "");
        Matcher name = NAME.matcher(code);
        while (name.find()) {
            String to = name.group(1) == null ? "" : name.group(1);
            if (!to.equals(from)) {
                used.putIfAbsent(to, file);
            }
        }
    }

    /** A cycle as "a -> b -> a", each step with a file that shows it, or nothing. */
    List<String> cycle() {
        Set<String> done = new HashSet<>();
        for (String start : uses.keySet()) {
            List<String> found = cycle(start, new ArrayList<>(), done);
            if (!found.isEmpty()) {
                return found;
            }
        }
        return List.of();
    }

    private List<String> cycle(String from, List<String> path, Set<String> done) {
        int seen = path.indexOf(from);
        path.add(from);
        if (seen >= 0) {
            return steps(path.subList(seen, path.size()));
        }
        if (!done.contains(from)) {
            for (String to : uses.getOrDefault(from, new TreeMap<>()).keySet()) {
                List<String> found = cycle(to, path, done);
                if (!found.isEmpty()) {
                    return found;
                }
            }
            done.add(from);
        }
        path.removeLast();
        return List.of();
    }

    private List<String> steps(List<String> path) {
        List<String> steps = new ArrayList<>();
        for (int i = 1; i < path.size(); i++) {
            steps.add(step(path.get(i - 1), path.get(i)));
        }
        return steps;
    }

    /** Uses that point at a package which {@code rank} puts higher. */
    List<String> upward(Map<String, Integer> rank) {
        List<String> found = new ArrayList<>();
        uses.forEach((from, used) -> used.keySet().stream().filter(to -> rank.get(to) > rank.get(from))
                .forEach(to -> found.add(step(from, to))));
        return found;
    }

    private String step(String from, String to) {
        return "%s -> %s (in %s)".formatted(from, to, uses.get(from).get(to));
    }
}
