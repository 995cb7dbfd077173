package org.transnormer.cuda;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Builds the emulator of src/test/cuda-emulator: the libraries that the facade looks for, made for the host, and of each
 * source in cuda/ a library of its kernels, compiled by g++ with headers that stand in for CUDA's language and for the
 * instructions of cuda/ptx.cuh. The device that it shows has compute capability 8.0, so what is for 9.0 alone is left out.
 */
final class CudaEmulator {
    private static final Path EMULATOR = Path.of("src/test/cuda-emulator");
    private static final Path KERNELS = Path.of("cuda");
    private static final Pattern DYNAMIC_SHARED =
            Pattern.compile("extern __shared__(?: __align__\\(\\d+\\))? (\\w+) (\\w+)\\[\\];");
    private static final Pattern KERNEL = Pattern.compile("EMULATED_KERNEL\\s+void\\s+(\\w+)\\s*\\(");
    /** No contraction: a product and a sum are what the source says; no sharing of inline statics between libraries. */
    private static final List<String> OPTIONS = List.of("-std=c++20", "-O1", "-w", "-march=native", "-ffp-contract=off",
            "-fPIC", "-fno-gnu-unique", "-fvisibility=hidden");

    private final Path folder;
    private final Path sources;

    private CudaEmulator(Path folder) {
        this.folder = folder;
        sources = folder.resolve("sources");
    }

    /**
     * Builds it.
     *
     * @param folder gets the libraries; for {@code -Dtnl.cuda.path}
     * @return why it cannot be built here, or empty
     */
    static Optional<String> build(Path folder) throws IOException, InterruptedException {
        if (!System.getProperty("os.arch").equals("amd64")) {
            return Optional.of("the emulator switches stacks on x86-64 only");
        }
        try {
            new ProcessBuilder("g++", "--version").start().waitFor();
        } catch (IOException e) {
            return Optional.of("no C++ compiler (g++) to build the emulator with");
        }
        new CudaEmulator(folder).build();
        return Optional.empty();
    }

    private void build() throws IOException {
        Files.createDirectories(sources);
        for (String header : List.of("emulator.h", "ptx.cuh")) {
            Files.copy(EMULATOR.resolve(header), sources.resolve(header));
        }
        List<Path> units = new ArrayList<>();
        try (Stream<Path> files = Files.list(KERNELS)) {
            for (Path file : files.sorted().toList()) {
                String name = file.getFileName().toString();
                if (name.matches(".*\\.cuh?") && !name.contains("hopper") && !name.equals("ptx.cuh")) {
                    String text = DYNAMIC_SHARED.matcher(Files.readString(file))
                            .replaceAll("$1* const $2 = ($1*)emulator::shared;");
                    Path copy = Files.writeString(sources.resolve(name), text);
                    if (name.endsWith(".cu")) {
                        units.add(copy);
                    }
                }
            }
        }
        compile("-std=c++20", "-O2", "-march=native", "-fPIC", "-shared", "-fvisibility=hidden", "-o",
                folder.resolve("libcuda.so.1").toString(), EMULATOR.resolve("driver.cpp").toString(),
                EMULATOR.resolve("nccl.cpp").toString(), "-ldl", "-lpthread");
        for (String name : List.of("libnvrtc.so.13", "libcublasLt.so.13", "libnccl.so.2")) {
            Files.createSymbolicLink(folder.resolve(name), folder.resolve("libcuda.so.1"));
        }
        try {
            CompletableFuture.allOf(units.stream().map(unit -> CompletableFuture.runAsync(() -> kernels(unit)))
                    .toArray(CompletableFuture[]::new)).join();
        } catch (CompletionException e) {
            throw new AssertionError(e.getCause().getMessage(), e);
        }
    }

    /** Preprocesses a source to find its kernels, then compiles it with a list of them at its end. */
    private void kernels(Path unit) {
        try {
            String stem = unit.getFileName().toString().replace(".cu", "");
            Path expanded = sources.resolve(stem + ".ii");
            command("-E", "-P", "-x", "c++", "-o", expanded.toString(), unit.toString());
            String text = Files.readString(expanded);
            StringBuilder list = new StringBuilder();
            KERNEL.matcher(text).results().map(found -> found.group(1)).distinct().forEach(name -> list.append(
                    "static bool emulated_%1$s = emulator::Kernel<&%1$s>::add(\"%1$s\");%n".formatted(name)));
            Files.writeString(expanded, text.replace("EMULATED_KERNEL", "") + list);
            command("-shared", "-x", "c++", "-o", folder.resolve("kernels-" + stem + ".so").toString(),
                    expanded.toString());
        } catch (IOException e) {
            throw new IllegalStateException(e.getMessage(), e);
        }
    }

    private static void command(String... arguments) throws IOException {
        compile(Stream.concat(OPTIONS.stream(), Stream.of(arguments)).toArray(String[]::new));
    }

    private static void compile(String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of("g++"));
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        try {
            if (process.waitFor() != 0) {
                throw new IOException(String.join(" ", command) + ":\n" + output);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }
}
