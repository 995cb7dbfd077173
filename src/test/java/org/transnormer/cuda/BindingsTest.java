package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.cuda.bindings.cublaslt.CublasLtApi;
import org.transnormer.cuda.bindings.driver.DriverApi;
import org.transnormer.cuda.bindings.nccl.NcclApi;
import org.transnormer.cuda.bindings.nvrtc.NvrtcApi;

/** The generated bindings: what the lists ask for, nothing edited, and only the facade calls them. */
class BindingsTest {
    private static final Path SOURCES = Path.of("src/main/java");
    private static final Path BINDINGS = Path.of("org/transnormer/cuda/bindings");

    @TempDir
    Path folder;

    @Test
    void everyFunctionOfTheListsIsBound() throws IOException {
        assertThat(CudaLibrary.functions(DriverApi.class)).containsExactlyInAnyOrderElementsOf(listed("driver"));
        assertThat(CudaLibrary.functions(NvrtcApi.class)).containsExactlyInAnyOrderElementsOf(listed("nvrtc"));
        assertThat(CudaLibrary.functions(CublasLtApi.class)).containsExactlyInAnyOrderElementsOf(listed("cublaslt"));
        assertThat(CudaLibrary.functions(NcclApi.class)).containsExactlyInAnyOrderElementsOf(listed("nccl"));
    }

    private static List<String> listed(String library) throws IOException {
        String option = "--include-function ";
        return Files.readAllLines(Path.of("jextract", library + ".includes")).stream()
                .filter(line -> line.startsWith(option)).map(line -> line.substring(option.length())).toList();
    }

    @Test
    void constantsNeedNoLibrary() {
        assertThat(DriverApi.CUDA_ERROR_OUT_OF_MEMORY()).isEqualTo(2);
        assertThat(CublasLtApi.CUDA_R_16BF()).isEqualTo(14);
    }

    @Test
    void onlyTheFacadeUsesThem() throws IOException {
        Pattern use = Pattern.compile("org\\.transnormer\\.cuda\\.bindings\\.");
        try (Stream<Path> files = Files.walk(SOURCES)) {
            for (Path file : files.filter(f -> f.toString().endsWith(".java")).toList()) {
                if (!file.startsWith(SOURCES.resolve("org/transnormer/cuda"))) {
                    assertThat(use.matcher(Files.readString(file)).find()).as("%s uses the bindings", file).isFalse();
                }
            }
        }
    }

    @Test
    void theScriptMakesThemAgainExactly() throws IOException, InterruptedException {
        boolean present = Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
                .anyMatch(entry -> Files.isExecutable(Path.of(entry, "jextract")));
        assumeTrue(present, "jextract is not on PATH (jextract/VERSION says which): the bindings are not made again");
        Process process = new ProcessBuilder("jextract/generate.sh", folder.toString()).redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes());
        assertThat(process.waitFor()).as(output).isZero();
        List<Path> made = files(folder.resolve(BINDINGS));
        assertThat(made).isEqualTo(files(SOURCES.resolve(BINDINGS)));
        for (Path file : made) {
            assertThat(folder.resolve(BINDINGS).resolve(file)).as("%s", file).hasSameTextualContentAs(
                    SOURCES.resolve(BINDINGS).resolve(file));
        }
    }

    private static List<Path> files(Path root) throws IOException {
        try (Stream<Path> files = Files.walk(root)) {
            return files.filter(Files::isRegularFile).map(root::relativize).sorted().toList();
        }
    }
}
