package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The real run-time compiler, where it is installed; it needs no GPU. */
class KernelCompilerTest {
    @TempDir
    Path folder;

    @BeforeEach
    void findTheCompiler() {
        assumeTrue(CudaLibrary.NVRTC.probe(System.getenv("CUDA_HOME")).getLast().error() == null,
                "libnvrtc is not installed: nothing is compiled here");
    }

    @Test
    void compilesForEveryArchitectureInUse() {
        KernelCache cache = new KernelCache(folder);
        for (String architecture : List.of("sm_80", "sm_90a")) {
            byte[] code = cache.load(CudaFacadeTest.AXPY, List.of(), architecture);
            assertThat(code).startsWith(0x7f, 'E', 'L', 'F');
            assertThat(cache.load(CudaFacadeTest.AXPY, List.of(), architecture)).isEqualTo(code);
        }
        assertThat(cache.contents().files()).isEqualTo(2);
    }

    /** nvcc, which the table of registers is made with, takes what this compiler refuses. */
    @ParameterizedTest
    @MethodSource("sources")
    void everyKernelCompilesWithNoToolkitHeaders(String stem) {
        if (!stem.contains("_hopper")) {
            assertThat(KernelCompiler.compile(KernelSource.resource(stem), List.of(), "sm_80")).isNotEmpty();
        }
        assertThat(KernelCompiler.compile(KernelSource.resource(stem), List.of(), "sm_90a")).isNotEmpty();
    }

    static List<String> sources() throws IOException {
        try (Stream<Path> files = Files.list(Path.of("cuda"))) {
            return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(".cu"))
                    .map(name -> name.substring(0, name.length() - ".cu".length())).sorted().toList();
        }
    }

    @Test
    void namesFileAndLineOfAMistake() {
        KernelSource bad = new KernelSource("cuda/bad.cu", "__global__ void f() {\n  x = 1;\n}\n", Map.of());
        assertThatThrownBy(() -> KernelCompiler.compile(bad, List.of(), "sm_80")).isInstanceOf(CudaException.class)
                .hasMessageContaining("cuda/bad.cu(2): error");
    }
}
