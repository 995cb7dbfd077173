package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.testing.TestRun;

/**
 * The facade against libraries that a C compiler made from src/test/c/cuda_stub.c. Native libraries stay in a process
 * until it ends, so the cases ({@link CudaStubCases}) run in one of their own.
 */
@EnabledOnOs(OS.LINUX)
class CudaStubTest {
    @TempDir
    Path folder;

    @TestFactory
    Stream<DynamicTest> cases() throws IOException, InterruptedException {
        compile();
        Result result = run("-Dtnl.trace.cuda", TestRun.class.getName(), CudaStubCases.class.getName());
        List<String> lines = result.output().lines().filter(line -> line.matches("(ok  |FAIL|skip) .*")).toList();
        // A native crash ends the process before it counts.
        assertThat(result.output()).containsPattern("(?m)^\\d+ passed, \\d+ failed");
        assertThat(lines).isNotEmpty();
        return lines.stream().map(line -> DynamicTest.dynamicTest(line.substring(5), () -> assertThat(line)
                .as(result.output()).startsWith("ok")));
    }

    @Test
    void aLibraryThatLacksFunctionsSaysWhich() throws IOException, InterruptedException {
        compile("-DOLD_DRIVER");
        assertThat(run(CudaStubTest.class.getName()).output()).contains(folder.resolve("libcuda.so.1").toString(),
                "lacks the functions [cuTensorMapEncodeTiled]", "install NVIDIA's driver, 550 or newer");
    }

    @Test
    void aFileThatIsNoLibraryIsNamedWithWhatTheLinkerSays() throws IOException, InterruptedException {
        Files.writeString(folder.resolve("libnccl.so.2"), "not a library");
        String output = run(CudaStubTest.class.getName(), "report").output();
        assertThat(output).contains(folder.resolve("libnccl.so.2") + ": ").containsAnyOf("file too short",
                "invalid ELF header");
    }

    /** What the processes above run. */
    public static void main(String[] args) {
        if (args.length > 0) {
            CudaReport.lines().forEach(line -> System.out.println(line.key() + " " + line.value()));
            return;
        }
        try {
            Device.all();
        } catch (RuntimeException e) {
            System.out.println(e.getMessage());
        }
    }

    private record Result(int status, String output) {
    }

    private void compile(String... options) throws IOException, InterruptedException {
        Path library = folder.resolve("libcuda.so.1");
        List<String> command = new ArrayList<>(List.of("cc", "-shared", "-fPIC", "-O1", "-o", library.toString()));
        command.addAll(List.of(options));
        command.add("src/test/c/cuda_stub.c");
        Process process;
        try {
            process = new ProcessBuilder(command).redirectErrorStream(true).start();
        } catch (IOException e) {
            assumeTrue(false, "no C compiler (cc) to build the stub libraries with");
            return;
        }
        String output = new String(process.getInputStream().readAllBytes());
        assertThat(process.waitFor()).as(output).isZero();
        // One library under three names is loaded once, so that the cases see one log of calls.
        Files.createSymbolicLink(folder.resolve("libnvrtc.so.13"), library);
        Files.createSymbolicLink(folder.resolve("libcublasLt.so.13"), library);
    }

    private Result run(String... arguments) throws IOException, InterruptedException {
        List<String> command =
                new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "--add-modules=jdk.incubator.vector",
                        "--enable-native-access=ALL-UNNAMED", "-Dtnl.cuda.path=" + folder,
                        "-Dtnl.cache=" + folder.resolve("cache"), "-cp", System.getProperty("java.class.path")));
        command.addAll(List.of(arguments));
        Path output = folder.resolve("output");
        Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile())
                .start();
        int status = process.waitFor();
        return new Result(status, Files.readString(output));
    }
}
