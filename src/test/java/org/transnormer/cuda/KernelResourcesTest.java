package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Compiles every kernel where nvcc is installed, and compares the registers and spills of each with a table: a change
 * that makes a kernel slower in a way that no result shows is seen here, without a GPU. What was compiled before is kept
 * below {@code target}.
 */
class KernelResourcesTest {
    private static final Path SOURCES = Path.of("cuda");
    private static final Path TABLE = SOURCES.resolve("registers.tsv");
    private static final Path KEPT = Path.of("target", "registers");
    private static final String WRITE = "mvn test -Dtest=KernelResourcesTest -Dtnl.registers=write";
    private static final String COMPILER = "# nvcc ";
    private static final double MORE_REGISTERS = 1.1;
    private static final Pattern VERSION = Pattern.compile("release (\\d+\\.\\d+)");
    private static final Pattern ENTRY = Pattern.compile("Compiling entry function '(\\w+)'");
    private static final Pattern FUNCTION = Pattern.compile("Function properties for (\\w+)");
    private static final Pattern SPILLS = Pattern.compile("(\\d+) bytes spill stores, (\\d+) bytes spill loads");
    private static final Pattern REGISTERS = Pattern.compile("Used (\\d+) registers");

    /**
     * What the compiler says of a function.
     *
     * @param registers of a thread; 0 of a function that is not a kernel
     * @param spills bytes stored and loaded because there were too few registers
     */
    private record Resources(int registers, int spills) {
    }

    @Test
    void kernelsKeepToTheTable() throws IOException {
        String version = nvccVersion().orElse(null);
        assumeTrue(version != null, "nvcc is not on the path: no kernel is compiled here");
        boolean write = "write".equals(System.getProperty("tnl.registers"));
        List<String> lines = Files.exists(TABLE) ? Files.readAllLines(TABLE) : List.of();
        if (!write && !lines.contains(COMPILER + version)) {
            abort("%s is not of nvcc %s: kernels are not compared".formatted(TABLE, version));
        }
        SortedMap<String, Resources> found = compileAll(version);
        if (write) {
            Files.write(TABLE, table(version, found));
        } else {
            assertThat(differences(read(lines), found)).as("kernels; where this is meant: %s", WRITE).isEmpty();
        }
    }

    @Test
    void whatIsWorseIsNamed() {
        SortedMap<String, Resources> found = parse("sm_80", """
                ptxas info    : Compiling entry function 'lrpe_forward_f32' for 'sm_80'
                ptxas info    : Function properties for lrpe_forward_f32
                    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
                ptxas info    : Used 45 registers, used 1 barriers, 376 bytes cmem[0]
                ptxas info    : Function properties for _Z4geluf
                    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
                """);
        assertThat(found).isEqualTo(Map.of("lrpe_forward_f32\tsm_80", new Resources(45, 20), "_Z4geluf\tsm_80",
                new Resources(0, 0)));
        assertThat(read(table("13.0", found))).isEqualTo(found);
        assertThat(differences(found, found)).isEmpty();
        SortedMap<String, Resources> table = new TreeMap<>(found);
        table.put("lrpe_forward_f32\tsm_80", new Resources(41, 20));
        assertThat(differences(table, found)).isEmpty();
        table.put("lrpe_forward_f32\tsm_80", new Resources(40, 20));
        assertThat(differences(table, found)).singleElement().asString()
                .contains("lrpe_forward_f32 sm_80").contains("45 registers", "40 in the table");
        table.put("lrpe_forward_f32\tsm_80", new Resources(45, 16));
        assertThat(differences(table, found)).singleElement().asString().contains("20 bytes of spills");
        table.remove("lrpe_forward_f32\tsm_80");
        assertThat(differences(table, found)).singleElement().asString().contains("is not in the table");
        assertThat(differences(found, table)).singleElement().asString().contains("is in the table only");
    }

    private static List<String> differences(Map<String, Resources> table, Map<String, Resources> found) {
        List<String> differences = new ArrayList<>();
        found.forEach((key, now) -> {
            String name = key.replace('\t', ' ');
            Resources before = table.get(key);
            if (before == null) {
                differences.add(name + " is not in the table");
            } else if (now.spills > before.spills) {
                differences.add("%s has %d bytes of spills, %d in the table".formatted(name, now.spills,
                        before.spills));
            } else if (now.registers > MORE_REGISTERS * before.registers) {
                differences.add("%s takes %d registers, %d in the table".formatted(name, now.registers,
                        before.registers));
            }
        });
        table.keySet().stream().filter(key -> !found.containsKey(key))
                .forEach(key -> differences.add(key.replace('\t', ' ') + " is in the table only"));
        return differences;
    }

    private static List<String> table(String version, SortedMap<String, Resources> found) {
        List<String> lines = new ArrayList<>(List.of("# Made by: " + WRITE, COMPILER + version,
                "# function\tarchitecture\tregisters\tbytes of spills"));
        found.forEach((key, r) -> lines.add(key + "\t" + r.registers + "\t" + r.spills));
        return lines;
    }

    private static SortedMap<String, Resources> read(List<String> lines) {
        SortedMap<String, Resources> table = new TreeMap<>();
        for (String line : lines) {
            if (!line.startsWith("#")) {
                String[] cells = line.split("\t", -1);
                table.put(cells[0] + "\t" + cells[1],
                        new Resources(Integer.parseInt(cells[2]), Integer.parseInt(cells[3])));
            }
        }
        return table;
    }

    private static SortedMap<String, Resources> parse(String architecture, String log) {
        SortedMap<String, Resources> found = new TreeMap<>();
        String entry = "";
        String function = "";
        for (String line : log.lines().toList()) {
            entry = group(ENTRY, line).orElse(entry);
            function = group(FUNCTION, line).orElse(function);
            Matcher spills = SPILLS.matcher(line);
            if (spills.find()) {
                found.put(function + "\t" + architecture,
                        new Resources(0, Integer.parseInt(spills.group(1)) + Integer.parseInt(spills.group(2))));
            }
            Optional<String> registers = group(REGISTERS, line);
            if (registers.isPresent()) {
                found.computeIfPresent(entry + "\t" + architecture,
                        (_, r) -> new Resources(Integer.parseInt(registers.get()), r.spills));
            }
        }
        return found;
    }

    private static Optional<String> group(Pattern pattern, String line) {
        Matcher matcher = pattern.matcher(line);
        return matcher.find() ? Optional.of(matcher.group(1)) : Optional.empty();
    }

    /** Two compilations at a time. */
    private static SortedMap<String, Resources> compileAll(String version) throws IOException {
        List<String> stems;
        try (Stream<Path> files = Files.list(SOURCES)) {
            stems = files.map(f -> f.getFileName().toString()).filter(f -> f.endsWith(".cu"))
                    .map(f -> f.substring(0, f.length() - ".cu".length())).sorted().toList();
        }
        Files.createDirectories(KEPT);
        List<Callable<SortedMap<String, Resources>>> tasks = new ArrayList<>();
        for (String stem : stems) {
            for (String architecture : stem.contains("_hopper") ? List.of("90a") : List.of("80", "90a")) {
                tasks.add(() -> parse("sm_" + architecture, log(stem, architecture, version)));
            }
        }
        SortedMap<String, Resources> all = new TreeMap<>();
        try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
            for (Future<SortedMap<String, Resources>> future : threads.invokeAll(tasks)) {
                all.putAll(future.get());
            }
        } catch (ExecutionException e) {
            throw new AssertionError(e.getCause().getMessage(), e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
        assertThat(all).as("kernels in %s", SOURCES).isNotEmpty();
        return all;
    }

    /** What ptxas says, now or when it was last asked about the same source. */
    private static String log(String stem, String architecture, String version) throws IOException {
        byte[] key = KernelCache.key(KernelSource.resource(stem), List.of(architecture), version);
        Path kept = KEPT.resolve(stem + "-" + architecture + "-" + HexFormat.of().formatHex(key, 0, 8) + ".txt");
        if (Files.exists(kept)) {
            return Files.readString(kept);
        }
        Path code = KEPT.resolve(stem + "-" + architecture + ".cubin");
        String log = output(List.of("nvcc", "-std=c++17", "-cubin", "-Xptxas", "-v", "-gencode",
                "arch=compute_%1$s,code=sm_%1$s".formatted(architecture), "-o", code.toString(),
                SOURCES.resolve(stem + ".cu").toString())).orElseThrow();
        Files.delete(code);
        Files.writeString(kept, log);
        return log;
    }

    private static Optional<String> nvccVersion() {
        return output(List.of("nvcc", "--version")).flatMap(text -> group(VERSION, text));
    }

    /** Both streams of a program, or nothing if there is no such program. */
    private static Optional<String> output(List<String> command) {
        Process process;
        try {
            process = new ProcessBuilder(command).redirectErrorStream(true).start();
        } catch (IOException e) {
            return Optional.empty();
        }
        try {
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertThat(process.waitFor()).as("status of %s:%n%s", String.join(" ", command), output).isZero();
            return Optional.of(output);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }
}
