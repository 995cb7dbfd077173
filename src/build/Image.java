import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;

/**
 * Makes {@code target/tnl}: launcher, jars and a Java runtime cut down to the modules in use. Maven runs this source
 * file in its package phase with the JDK that compiled the project, after the dependencies were copied to
 * {@code target/tnl/lib}.
 */
final class Image {
    /** jdk.unsupported is for eclipse-collections; the management modules report memory use. */
    static final List<String> MODULES = List.of("java.base", "java.management", "jdk.incubator.vector",
            "jdk.management", "jdk.unsupported");

    /** Left uncompressed: the runtime starts faster, and its tarball is smaller, than with jlink's own compression. */
    static final List<String> JLINK_OPTIONS = List.of("--strip-java-debug-attributes", "--no-header-files",
            "--no-man-pages",
            "--add-options=--add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED");

    private final Path target;
    private final Path home;

    private Image(Path target) {
        this.target = target;
        this.home = target.resolve("tnl");
    }

    public static void main(String[] args) throws IOException, InterruptedException {
        Image image = new Image(Path.of(args[0]));
        Path jar = Path.of(args[1]);
        Path launcher = Path.of(args[2]);
        image.checkModules(jar);
        image.linkRuntime();
        image.copy(jar, "lib/tnl.jar");
        image.copy(launcher, "bin/tnl");
        image.makeAotCache();
    }

    /** Without this, a class that needs another module would fail only when it is first used in the image. */
    private void checkModules(Path jar) {
        String found = tool("jdeps", "--ignore-missing-deps", "--multi-release", "25", "--print-module-deps",
                "--class-path", home.resolve("lib") + "/*", "--no-recursive", jar.toString());
        TreeSet<String> missing = new TreeSet<>(Arrays.asList(found.strip().split(",")));
        MODULES.forEach(missing::remove);
        if (!missing.isEmpty()) {
            fail("the code uses Java modules that the runtime image lacks: " + missing
                    + "; add them to MODULES in Image.java, or do without them");
        }
    }

    /** Linking takes seconds, so a runtime made earlier by the same JDK with the same options is kept. */
    private void linkRuntime() throws IOException {
        Path runtime = home.resolve("runtime");
        Path stampFile = target.resolve("runtime.stamp");
        String stamp = Runtime.version() + " " + MODULES + " " + JLINK_OPTIONS;
        if (Files.isDirectory(runtime) && Files.exists(stampFile) && Files.readString(stampFile).equals(stamp)) {
            return;
        }
        Files.deleteIfExists(stampFile);
        deleteTree(runtime);
        Stream<String> options = Stream.concat(JLINK_OPTIONS.stream(),
                Stream.of("--add-modules", String.join(",", MODULES), "--output", runtime.toString()));
        tool("jlink", options.toArray(String[]::new));
        Files.writeString(stampFile, stamp);
    }

    private void copy(Path from, String to) throws IOException {
        Path destination = home.resolve(to);
        Files.createDirectories(destination.getParent());
        Files.copy(from, destination, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.COPY_ATTRIBUTES);
    }

    /** Both steps name their files relative to the image: TNL_JAVA_OPTS is split at blanks, which paths may have. */
    private void makeAotCache() throws IOException, InterruptedException {
        Files.deleteIfExists(home.resolve("lib/tnl.aot"));
        runHelp("-XX:AOTMode=record -XX:AOTConfiguration=loaded-classes");
        runHelp("-XX:AOTMode=create -XX:AOTConfiguration=loaded-classes -XX:AOTCache=lib/tnl.aot");
        Files.delete(home.resolve("loaded-classes"));
    }

    private void runHelp(String javaOptions) throws IOException, InterruptedException {
        Path log = target.resolve("image.log");
        ProcessBuilder help = new ProcessBuilder(home.resolve("bin/tnl").toString(), "--help")
                .directory(home.toFile()).redirectErrorStream(true).redirectOutput(log.toFile());
        help.environment().put("TNL_JAVA_OPTS", javaOptions);
        int status = help.start().waitFor();
        if (status != 0) {
            fail("tnl --help in the new image ended with status " + status + ":\n" + Files.readString(log));
        }
    }

    static String tool(String name, String... arguments) {
        var out = new StringWriter();
        var err = new StringWriter();
        int status = ToolProvider.findFirst(name)
                .orElseThrow(() -> new IllegalStateException("the JDK has no " + name))
                .run(new PrintWriter(out, true), new PrintWriter(err, true), arguments);
        if (status != 0) {
            fail(name + " failed: " + out + err);
        }
        return out.toString();
    }

    static void deleteTree(Path tree) throws IOException {
        if (!Files.exists(tree)) {
            return;
        }
        try (Stream<Path> paths = Files.walk(tree)) {
            for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }

    static void fail(String message) {
        System.err.println(message);
        System.exit(1);
    }
}
