package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.testing.TestRun;

/**
 * The CUDA backend where there is no GPU: its twins, models, training and decoding on kernels that an emulator runs on the
 * CPU. It does not show what the machine's arithmetic, memory order and time are; the tests tagged "gpu" do. Native
 * libraries stay in a process until it ends, so the tests run in one of their own.
 */
@EnabledOnOs(OS.LINUX)
class CudaEmulatorTest {
    private static final List<String> CLASSES = List.of(
            "org.transnormer.activation.ActivationCudaTest",
            "org.transnormer.activation.ActivationCudaBf16Test",
            "org.transnormer.adamw.AdamWCudaTest",
            "org.transnormer.adamw.GradientNormCudaTest",
            "org.transnormer.bench.StepBenchCudaTest",
            "org.transnormer.checkpoint.DeviceFilesTest",
            "org.transnormer.cuda.CaptureTest",
            "org.transnormer.embedding.EmbeddingCudaTest",
            "org.transnormer.golden.GoldenCudaTest",
            "org.transnormer.inference.RobustInferenceCudaTest",
            "org.transnormer.lightning.FeatureAttentionCudaTest",
            "org.transnormer.lightning.GlaStepCudaTest",
            "org.transnormer.lightning.LightningCudaTest",
            "org.transnormer.lightning.LightningCudaBf16Test",
            "org.transnormer.lightning.LightningCudaTensorTest",
            "org.transnormer.linear.LinearCudaTest",
            "org.transnormer.loss.CrossEntropyCudaTest",
            "org.transnormer.lrpe.LrpeCudaTest",
            "org.transnormer.lrpe.LrpeCudaBf16Test",
            "org.transnormer.product.ProductCudaTest",
            "org.transnormer.product.ProductCudaBf16Test",
            "org.transnormer.srmsnorm.LayerNormCudaTest",
            "org.transnormer.srmsnorm.LayerNormCudaBf16Test",
            "org.transnormer.srmsnorm.RmsNormCudaTest",
            "org.transnormer.srmsnorm.RmsNormCudaBf16Test",
            "org.transnormer.srmsnorm.SrmsNormCudaTest",
            "org.transnormer.srmsnorm.SrmsNormCudaBf16Test",
            "org.transnormer.train.PlannedStepCudaTest",
            "org.transnormer.train.RecomputeTest",
            "org.transnormer.train.ResumeTest");

    /** Ranks with a GPU each. */
    private static final List<String> SEVERAL = List.of(
            "org.transnormer.bench.CollectivesBenchTest",
            "org.transnormer.cli.SeveralGpusTest",
            "org.transnormer.parallel.CopiedSumsTest",
            "org.transnormer.parallel.NcclProcessesTest",
            "org.transnormer.parallel.NcclTest",
            "org.transnormer.train.ParallelCudaTest");
    /** Of these the ones with more than one stream each. */
    private static final List<String> STREAMS = List.of(
            "org.transnormer.parallel.CopiedSumsTest",
            "org.transnormer.parallel.NcclTest",
            "org.transnormer.train.ParallelCudaTest");

    /**
     * A process.
     *
     * @param order when streams but a device's first do their work: as late or as early as they may
     */
    private record Run(String name, List<String> classes, int gpus, String order) {
    }

    @TempDir
    Path folder;

    @TestFactory
    Stream<DynamicTest> everyTestPassesOnTheEmulator() throws IOException, InterruptedException {
        Optional<String> obstacle = CudaEmulator.build(folder);
        assumeTrue(obstacle.isEmpty(), obstacle.orElse(""));
        List<Run> runs = List.of(new Run("one", half(0), 1, "late"), new Run("two", half(1), 1, "late"),
                new Run("late", SEVERAL, 4, "late"), new Run("early", STREAMS, 4, "early"));
        String output = runs.stream().map(run -> CompletableFuture.supplyAsync(() -> run(run))).toList().stream()
                .map(CompletableFuture::join).collect(Collectors.joining());
        // A native crash ends a process before it counts.
        assertThat(Pattern.compile("(?m)^\\d+ passed, \\d+ failed").matcher(output).results()).as(output)
                .hasSize(runs.size());
        List<String> lines = output.lines().filter(line -> line.matches("(ok  |FAIL|skip) .*")).toList();
        assertThat(lines).hasSizeGreaterThan(CLASSES.size());
        return lines.stream().map(line -> DynamicTest.dynamicTest(line.substring(5), () -> assertThat(line)
                .as(output).startsWith("ok")));
    }

    private static List<String> half(int first) {
        return IntStream.range(0, CLASSES.size()).filter(i -> i % 2 == first).mapToObj(CLASSES::get).toList();
    }

    private String run(Run run) {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:Tier3DelayOn=10000",
                "-XX:+UseSerialGC", "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED",
                "-Dtnl.requireGpu=true", "-Dtnl.cuda.path=" + folder, "-Dtnl.cache=" + folder.resolve("cache"), "-cp",
                System.getProperty("java.class.path"), TestRun.class.getName()));
        command.addAll(run.classes());
        Path output = folder.resolve("output-" + run.name());
        try {
            ProcessBuilder process = new ProcessBuilder(command).redirectErrorStream(true)
                    .redirectOutput(output.toFile());
            process.environment().remove("CUDA_VISIBLE_DEVICES");
            process.environment().put("TNL_EMULATED_GPUS", Integer.toString(run.gpus()));
            process.environment().put("TNL_EMULATED_ORDER", run.order());
            process.start().waitFor();
            return Files.readString(output);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }
}
