package org.transnormer.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Every import is used, if only in a comment: the formatter cannot see to it, it does not know this Java yet. And a tag is of
 * the engine that runs the tests: the other's is not seen, and the tests are run or left out where they should not be.
 */
class ImportsTest {
    private static final Pattern IMPORT =
            Pattern.compile("^import (?:static )?[\\w.]*?(\\w+);$", Pattern.MULTILINE);
    private static final Pattern JQWIK_TAG = Pattern.compile("^import net\\.jqwik\\.api\\.Tag;", Pattern.MULTILINE);
    private static final Pattern JUPITER_TEST =
            Pattern.compile("^import org\\.junit\\.jupiter\\.[\\w.]*Test;", Pattern.MULTILINE);

    @Test
    void everyImportIsUsed() throws IOException {
        List<String> unused = new ArrayList<>();
        try (Stream<Path> files = Files.walk(Path.of("src"))) {
            for (Path file : files.filter(ImportsTest::isOurs).toList()) {
                unused(Files.readString(file)).forEach(line -> unused.add(file + ": " + line));
            }
        }
        assertThat(unused).isEmpty();
    }

    @Test
    void tagsAreOfTheEngineThatRunsTheTests() throws IOException {
        try (Stream<Path> files = Files.walk(Path.of("src/test"))) {
            for (Path file : files.filter(ImportsTest::isOurs).toList()) {
                String source = Files.readString(file);
                assertThat(JQWIK_TAG.matcher(source).find() && JUPITER_TEST.matcher(source).find())
                        .as("%s: jqwik's tag on tests of JUnit Jupiter", file).isFalse();
            }
        }
    }

    @Test
    void theGuardTellsNamesFromPartsOfNames() {
        assertThat(unused("import a.List;\nimport static a.B.c;\nclass Lists { int d = c(); }"))
                .containsExactly("import a.List;");
    }

    /** The bindings are generated, with the imports that jextract always writes. */
    private static boolean isOurs(Path path) {
        return path.toString().endsWith(".java") && !path.startsWith("src/main/java/org/transnormer/cuda/bindings");
    }

    private static List<String> unused(String source) {
        String body = IMPORT.matcher(source).replaceAll("");
        return IMPORT.matcher(source).results()
                .filter(line -> !Pattern.compile("\\b" + line.group(1) + "\\b").matcher(body).find())
                .map(MatchResult::group).toList();
    }
}
