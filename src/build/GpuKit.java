import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.stream.Stream;

/**
 * Makes {@code target/gpu-kit.tgz}: all that it takes to run the GPU tests, and tnl itself, on a machine that has only a
 * driver and the CUDA libraries. Maven runs this source file after {@link Image}, whose launcher and jars it takes, and
 * after the test dependencies were copied to {@code target/gpu-kit/test-lib}.
 */
final class GpuKit {
    /** What the test engines need beyond the image. */
    private static final List<String> MORE_MODULES = List.of("java.instrument", "java.logging", "java.xml");
    private static final long LARGEST = 55_000_000;

    private GpuKit() {}

    public static void main(String[] args) throws IOException, InterruptedException {
        Path target = Path.of(args[0]);
        Path project = Path.of(args[1]);
        Path kit = target.resolve("gpu-kit");
        Image.deleteTree(kit.resolve("runtime"));
        Image.tool("jlink", Stream.concat(Image.JLINK_OPTIONS.stream(), Stream.of("--add-modules",
                String.join(",", Stream.concat(Image.MODULES.stream(), MORE_MODULES.stream()).toList()),
                "--output", kit.resolve("runtime").toString())).toArray(String[]::new));
        for (String folder : List.of("bin", "lib")) {
            copyTree(target.resolve("tnl").resolve(folder), kit.resolve(folder));
        }
        // It belongs to the other runtime.
        Files.deleteIfExists(kit.resolve("lib/tnl.aot"));
        try (Stream<Path> jars = Files.list(kit.resolve("test-lib"))) {
            for (Path jar : jars.toList()) {
                if (Files.exists(kit.resolve("lib").resolve(jar.getFileName()))) {
                    Files.delete(jar);
                }
            }
        }
        copyTree(target.resolve("test-classes"), kit.resolve("test-classes"));
        copyTree(project.resolve("golden-tests"), kit.resolve("golden-tests"));
        copy(project.resolve("src/dist/gpu-kit/run.sh"), kit.resolve("run.sh"));
        // Its commands are run there.
        copy(project.resolve("README.md"), kit.resolve("README.md"));
        copy(project.resolve("src/dist/bin/tnl"), kit.resolve("src/dist/bin/tnl"));
        Path archive = target.resolve("gpu-kit.tgz");
        var tar = new ProcessBuilder("tar", "-C", target.toString(), "--owner=0", "--group=0", "--sort=name", "-I",
                "gzip -9n", "-cf", archive.toString(), "gpu-kit").inheritIO();
        int status = tar.start().waitFor();
        if (status != 0) {
            Image.fail("tar ended with status " + status);
        }
        if (Files.size(archive) > LARGEST) {
            Image.fail("%s has %,d bytes, more than %,d".formatted(archive, Files.size(archive), LARGEST));
        }
        System.out.printf("%s: %,d bytes%n", archive, Files.size(archive));
    }

    private static void copy(Path from, Path to) throws IOException {
        Files.createDirectories(to.getParent());
        Files.copy(from, to, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.COPY_ATTRIBUTES);
    }

    private static void copyTree(Path from, Path to) throws IOException {
        Image.deleteTree(to);
        Files.walkFileTree(from, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path folder, BasicFileAttributes attributes) throws IOException {
                Files.createDirectories(to.resolve(from.relativize(folder)));
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.copy(file, to.resolve(from.relativize(file)), StandardCopyOption.COPY_ATTRIBUTES);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}
