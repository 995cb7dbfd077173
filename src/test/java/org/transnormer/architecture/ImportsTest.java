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

/** Every import is used, if only in a comment. The formatter cannot see to it: it does not know this Java yet. */
class ImportsTest {
    private static final Pattern IMPORT =
            Pattern.compile("^import (?:static )?[\\w.]*?(\\w+);$", Pattern.MULTILINE);

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
