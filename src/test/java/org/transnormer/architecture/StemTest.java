package org.transnormer.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Every leaf component is there in full: interface, its twins, which read in the same order, contract, golden case, and
 * a section of SPEC.md that links to the twins. Every link of the documents leads somewhere.
 */
class StemTest {
    private static final Path MAIN = Path.of("src/main/java/org/transnormer");
    private static final Path TEST = Path.of("src/test/java/org/transnormer");
    private static final Pattern METHOD = Pattern.compile(
            "^    (?<modifiers>(?:default |public |final |static |private |protected )*)(?!record |class |enum )"
                    + "[\\w<>\\[\\].]+ (?<name>\\w+)\\(",
            Pattern.MULTILINE);
    private static final Pattern LINK = Pattern.compile("\\]\\((?!\\w+:|#)([^)#\\s]+)(?:#[^)]*)?\\)");

    /** A component by its package, its interfaces from the general to the special, its twins and its contract. */
    enum Stem {
        SRMSNORM("srmsnorm", "SrmsNorm", "SrmsNormContract", "Norm", "SrmsNorm"),
        RMSNORM("srmsnorm", "RmsNorm", "RmsNormContract", "Norm", "RmsNorm"),
        LAYERNORM("srmsnorm", "LayerNorm", "LayerNormContract", "Norm", "LayerNorm"),
        LRPE("lrpe", "Lrpe", "LrpeContract", "Lrpe"),
        LIGHTNING("lightning", "Lightning", "LightningContract", "LightningAttention"),
        LINEAR("linear", "Linear", "LinearContract", "Linear"),
        ACTIVATION("activation", "Activation", "ActivationContract", "Activation"),
        PRODUCT("product", "Product", "ProductContract", "Product"),
        EMBEDDING("embedding", "Embedding", "EmbeddingContract", "Embedding"),
        LOSS("loss", "CrossEntropy", "CrossEntropyContract", "CrossEntropy"),
        ADAMW("adamw", "AdamW", "AdamWContract", "AdamW"),
        GRADIENT_NORM("adamw", "GradientNorm", "GradientNormContract", "GradientNorm");

        final String folder;
        final String twin;
        final String contract;
        final List<String> interfaces;

        Stem(String folder, String twin, String contract, String... interfaces) {
            this.folder = folder;
            this.twin = twin;
            this.contract = contract;
            this.interfaces = List.of(interfaces);
        }

        Path source(String name) {
            return MAIN.resolve(folder).resolve(name + ".java");
        }

        Path scalar() {
            return source(twin + "Scalar");
        }

        /** The scalar twin, where there are several forms of it the one that the backend uses. */
        Path spec() {
            return this == LIGHTNING ? source("LightningRecurrent") : scalar();
        }

        Path vector() {
            return source(twin + "Vector");
        }

        Path cuda() {
            return source(twin + "Cuda");
        }
    }

    @ParameterizedTest
    @EnumSource
    void twinsHaveTheMethodsOfTheInterfaceInItsOrder(Stem stem) throws IOException {
        List<String> declared = new ArrayList<>();
        List<String> required = new ArrayList<>();
        for (String name : stem.interfaces) {
            for (Method method : methods(stem.source(name))) {
                if (!method.modifiers.contains("static")) {
                    declared.add(method.name);
                    if (!method.modifiers.contains("default")) {
                        required.add(method.name);
                    }
                }
            }
        }
        required.removeAll(defaults(stem));
        assertThat(required).isNotEmpty();
        for (Path twin : List.of(stem.scalar(), stem.vector(), stem.cuda())) {
            List<String> implemented = methods(twin).stream().filter(m -> m.modifiers.contains("public"))
                    .map(Method::name).filter(declared::contains).toList();
            assertThat(implemented).as("methods of %s", twin).containsAll(required).doesNotHaveDuplicates()
                    .isEqualTo(declared.stream().distinct().filter(implemented::contains).toList());
        }
    }

    @ParameterizedTest
    @EnumSource
    void contractIsImplementedForAllTwins(Stem stem) throws IOException {
        assertThat(TEST.resolve(stem.folder).resolve(stem.contract + ".java")).content()
                .contains("interface " + stem.contract);
        for (Path twin : List.of(stem.spec(), stem.vector(), stem.cuda())) {
            String name = twin.getFileName().toString().replace(".java", "");
            assertThat(sources(TEST.resolve(stem.folder)).map(StemTest::read)).as("tests of %s", twin)
                    .anyMatch(test -> (test.contains("new " + name + "(") || test.contains(name + "::new"))
                            && implementsContract(test, stem));
        }
    }

    @ParameterizedTest
    @EnumSource
    void goldenCaseIsThere(Stem stem) {
        assertThat(Path.of("golden-tests", stem.folder)).isNotEmptyDirectory();
    }

    @ParameterizedTest
    @EnumSource
    void specSectionLinksToTheTwins(Stem stem) {
        assertThat(Stream.of(read(Path.of("SPEC.md")).split("(?m)^(?=#{2,3} )")))
                .as("a section of SPEC.md links to %s, %s and %s", stem.spec(), stem.vector(), stem.cuda())
                .anyMatch(section -> section.startsWith("###") && Stream.of(stem.spec(), stem.vector(), stem.cuda())
                        .allMatch(twin -> section.contains("](" + twin + ")")));
    }

    @Test
    void everyPackageSaysWhatItIs() throws IOException {
        assertThat(sources(MAIN).map(Path::getParent).distinct().filter(folder -> !folder.equals(MAIN)))
                .allSatisfy(folder -> assertThat(folder.resolve("package-info.java")).content()
                        .as("package-info of %s", folder).startsWith("/** "));
    }

    @Test
    void everyRelativeLinkLeadsToAFile() {
        for (String document : List.of("README.md", "SPEC.md")) {
            Matcher link = LINK.matcher(read(Path.of(document)));
            List<String> dead = new ArrayList<>();
            int links = 0;
            for (; link.find(); links++) {
                if (!Files.exists(Path.of(link.group(1)))) {
                    dead.add(link.group(1));
                }
            }
            assertThat(links).as("links in %s", document).isPositive();
            assertThat(dead).as("links in %s that lead nowhere", document).isEmpty();
        }
    }

    /** Directly, or by way of a contract of the scalar, the vector or the CUDA twins. */
    private static boolean implementsContract(String test, Stem stem) {
        return Pattern.compile("(class|record) \\w+ implements [^{]*\\b"
                + stem.contract.replace("Contract", "(Cuda)?Contract") + "\\b").matcher(test).find()
                || stem == Stem.LIGHTNING && test.contains("implements LightningScalarContract");
    }

    private record Method(String modifiers, String name) {
    }

    /** Methods of the top type of a file, in order of the source. */
    private static List<Method> methods(Path file) {
        String code = read(file).replaceAll("(?s)/\\*.*?\\*/|//[^\\n]*", "");
        List<Method> methods = new ArrayList<>();
        Matcher method = METHOD.matcher(code);
        while (method.find()) {
            methods.add(new Method(method.group("modifiers"), method.group("name")));
        }
        return methods;
    }

    /** What a special interface implements of a general one. */
    private static List<String> defaults(Stem stem) {
        return stem.interfaces.stream().flatMap(name -> methods(stem.source(name)).stream())
                .filter(method -> method.modifiers.contains("default")).map(Method::name).toList();
    }

    private static Stream<Path> sources(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(file -> file.toString().endsWith(".java")).toList().stream();
        }
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
