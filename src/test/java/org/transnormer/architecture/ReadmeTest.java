package org.transnormer.architecture;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.cli.ExitCode;
import org.transnormer.cuda.Device;
import org.transnormer.cuda.Gpu;

/**
 * The commands of README.md do what it says. Those of {@code tnl} are run as they are written, in order, in an empty
 * folder, with the golden tests of the repository; those of Maven are what brought us here and are compared with what
 * continuous integration runs.
 */
class ReadmeTest {
    private static final Path README = Path.of("README.md");
    private static final Pattern BLOCK = Pattern.compile("^```sh\\n(.*?)^```$", Pattern.MULTILINE | Pattern.DOTALL);
    private static final Pattern WORD = Pattern.compile("\"([^\"]*)\"|\\S+");
    private static final String TNL = "target/tnl/bin/tnl";
    private static final String GOLDEN = "golden-tests/";
    private static final String ON_GPU = "--backend cuda";
    private static final Pattern GPUS = Pattern.compile("--gpus (\\d+)");
    private static final Pattern START = Pattern.compile("(?m)^exec \\S+/bin/java\" (-X.*) \\\\$");
    /** Commands that say no number of steps train for minutes: here they make this many. */
    private static final List<String> FEW_STEPS = List.of("--steps", "3");
    private static final long LIMIT_SECONDS = 600;

    @TempDir
    Path temp;

    @Test
    void everyTnlCommandSucceeds() throws IOException, InterruptedException {
        List<String> commands =
                commands().stream().filter(command -> command.startsWith(TNL) && !command.contains(ON_GPU)).toList();
        assertThat(commands).as("commands of %s in %s", TNL, README).hasSizeGreaterThanOrEqualTo(2);
        for (String command : commands) {
            run(command, ExitCode.OK);
        }
    }

    @Test
    @Tag("gpu")
    void everyCommandForAGpuSucceeds() throws IOException, InterruptedException {
        int there = Device.all().size();
        for (String command : onGpu()) {
            if (gpus(command) <= there) {
                run(command, ExitCode.OK);
            }
        }
    }

    private static int gpus(String command) {
        return GPUS.matcher(command).results().mapToInt(asked -> Integer.parseInt(asked.group(1))).findFirst()
                .orElse(1);
    }

    /** Where there is no GPU, each says so in one line that names what was looked for. */
    @Test
    void withoutAGpuItsCommandsSayWhatIsMissing() throws IOException, InterruptedException {
        assumeTrue(Gpu.absence().isPresent(), "this machine has a GPU");
        for (String command : onGpu()) {
            assertThat(run(command, ExitCode.ENVIRONMENT).lines().filter(line -> line.startsWith("tnl: ")).toList())
                    .as(command).singleElement().asString().contains("lib", "not found", "install");
        }
    }

    private static List<String> onGpu() throws IOException {
        List<String> commands = commands().stream().filter(command -> command.contains(ON_GPU)).toList();
        assertThat(commands).as("commands with %s in %s", ON_GPU, README).isNotEmpty();
        return commands;
    }

    /** {@code tnl train} alone is what the README says it is: the program itself says what it is going to do. */
    @Test
    void theDefaultRunIsAsDescribed() throws IOException {
        MatchResult described = Pattern.compile("([\\d,]+) parameters, ([\\d,]+ steps of [\\d,]+ tokens)")
                .matcher(Files.readString(README)).results().findFirst().orElseThrow();
        Process process = new ProcessBuilder(java(List.of(TNL, "train"))).directory(temp.toFile())
                .redirectErrorStream(true).start();
        try (BufferedReader output = process.inputReader()) {
            List<String> said = output.lines().takeWhile(line -> !line.startsWith("memory:")).toList();
            assertThat(said).anyMatch(line -> line.startsWith("model: " + described.group(1) + " parameters"))
                    .anyMatch(line -> line.startsWith("data: the bundled text"))
                    .anyMatch(line -> line.startsWith("plan: " + described.group(2)));
        } finally {
            process.destroyForcibly();
        }
    }

    @Test
    void mavenCommandsAreThoseOfThisBuild() throws IOException {
        List<String> maven = commands().stream().filter(command -> command.startsWith("mvn ")).toList();
        String pom = Files.readString(Path.of("pom.xml"));
        assertThat(maven).as("the command that runs the tests").contains("mvn verify");
        assertThat(Files.readString(Path.of(".ci/run"))).containsPattern("mvn( -\\w+)* verify\\n");
        for (String command : maven) {
            for (String word : words(command).subList(1, words(command).size())) {
                if (word.startsWith("-P")) {
                    assertThat(pom).as(command).contains("<id>" + word.substring(2) + "</id>");
                } else {
                    assertThat(Set.of("-q", "-DskipTests", "package", "verify")).as(command).contains(word);
                }
            }
        }
        assertThat(pom).as("what makes %s", TNL).contains("src/build/Image.java", "src/dist/bin/tnl");
        assertThat(Path.of("src/dist/bin/tnl")).isExecutable();
    }

    @Test
    void nothingElseIsAskedOfTheReader() throws IOException {
        assertThat(commands()).allMatch(command -> command.startsWith("mvn ") || command.startsWith(TNL + " "));
    }

    /** Each command of a line on its own. */
    private static List<String> commands() throws IOException {
        return BLOCK.matcher(Files.readString(README)).results().map(block -> block.group(1)).flatMap(String::lines)
                .flatMap(line -> Pattern.compile("&&").splitAsStream(line)).map(String::strip)
                .filter(command -> !command.isEmpty() && !command.startsWith("#")).toList();
    }

    private static List<String> words(String command) {
        return WORD.matcher(command).results().map(ReadmeTest::unquoted).toList();
    }

    private static String unquoted(MatchResult word) {
        return word.group(1) == null ? word.group() : word.group(1);
    }

    /** The program with the options of its start script, on the classes under test. */
    private static List<String> java(List<String> words) throws IOException {
        List<String> java = new ArrayList<>();
        java.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        java.addAll(startOptions());
        java.addAll(List.of("--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-cp",
                absolute(System.getProperty("java.class.path")), "org.transnormer.cli.Tnl"));
        words.subList(1, words.size()).forEach(word -> java.add(word.startsWith(GOLDEN)
                ? Path.of(word).toAbsolutePath().toString() : word));
        return java;
    }

    /** What the start script gives Java whatever the machine, on the line that starts it. */
    private static List<String> startOptions() throws IOException {
        Matcher start = START.matcher(Files.readString(Path.of("src/dist/bin/tnl")));
        assertThat(start.find()).as("the line of src/dist/bin/tnl that starts Java").isTrue();
        return List.of(start.group(1).split(" "));
    }

    /** What it says. */
    private String run(String command, int status) throws IOException, InterruptedException {
        Files.createDirectories(temp.resolve("text"));
        Files.writeString(temp.resolve("text/own.txt"), "A text of one's own, in a folder. ".repeat(4000));
        List<String> words = words(command);
        List<String> java = java(words);
        if (words.contains("train") && !words.contains("--steps")) {
            java.addAll(FEW_STEPS);
        }
        if (words.contains("bench")) {
            java.addAll(List.of("--seconds", "0.01"));
        }
        Path output = temp.resolve("output.txt");
        Process process = new ProcessBuilder(java).directory(temp.toFile()).redirectErrorStream(true)
                .redirectOutput(output.toFile()).start();
        try {
            if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
                return fail("%s: not done after %d s; so far:%n%s", command, LIMIT_SECONDS, Files.readString(output));
            }
            assertThat(process.exitValue()).as("exit code of %s; it said:%n%s", command, Files.readString(output))
                    .isEqualTo(status);
            return Files.readString(output);
        } finally {
            process.destroyForcibly();
        }
    }

    private static String absolute(String classPath) {
        String separator = System.getProperty("path.separator");
        return String.join(separator, Pattern.compile(Pattern.quote(separator)).splitAsStream(classPath)
                .map(entry -> Path.of(entry).toAbsolutePath().toString()).toList());
    }
}
