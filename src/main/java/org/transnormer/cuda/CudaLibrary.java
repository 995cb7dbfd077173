package org.transnormer.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.transnormer.EnvironmentException;

/**
 * The shared libraries that the GPU needs, and how they are looked for: in the folders of {@code -Dtnl.cuda.path}
 * (separated by colons), in the dynamic linker's path, then in the toolkit's folder.
 */
public enum CudaLibrary {
    /** The driver; it comes with the kernel module, not with the toolkit. */
    DRIVER("install NVIDIA's driver, 550 or newer", "libcuda.so.1"),
    /** The run-time compiler. */
    NVRTC("install the CUDA toolkit 12.4 or newer (its cuda-nvrtc package is enough)", "libnvrtc.so.13",
            "libnvrtc.so.12"),
    CUBLASLT("install the CUDA toolkit 12.4 or newer (its libcublas package is enough)", "libcublasLt.so.13",
            "libcublasLt.so.12"),
    /** Needed for several GPUs only. */
    NCCL("install NVIDIA's package libnccl2, 2.19 or newer", "libnccl.so.2");

    private final String cure;
    private final List<String> names;
    private Path loaded;

    /**
     * One attempt to open a library.
     *
     * @param path what was handed to the dynamic linker
     * @param error what it said; null if it opened it
     */
    public record Attempt(String path, String error) {
        /** The linker's words, which name the path most often, or both. */
        public String message() {
            return error == null ? path : error.startsWith(path) ? error : path + ": " + error;
        }
    }

    CudaLibrary(String cure, String... names) {
        this.cure = cure;
        this.names = List.of(names);
    }

    /** Names of the library, the preferred one first. */
    public List<String> names() {
        return names;
    }

    /** What to install. */
    public String cure() {
        return cure;
    }

    /**
     * Tries to open the library, without calling any of its functions.
     *
     * @param cudaHome folder of a CUDA toolkit, or null: the usual one
     * @return the attempts in order; the last one opened it, or none did
     */
    public List<Attempt> probe(String cudaHome) {
        List<Attempt> attempts = new ArrayList<>();
        for (String folder : folders(cudaHome)) {
            for (String name : names) {
                Attempt attempt = open(folder + name);
                attempts.add(attempt);
                if (attempt.error() == null) {
                    return List.copyOf(attempts);
                }
            }
        }
        return List.copyOf(attempts);
    }

    private static List<String> folders(String cudaHome) {
        Stream<String> asked = Arrays.stream(System.getProperty("tnl.cuda.path", "").split(":"))
                .filter(folder -> !folder.isBlank()).map(folder -> folder + "/");
        return Stream.concat(asked, Stream.of("", (cudaHome == null ? "/usr/local/cuda" : cudaHome) + "/lib64/"))
                .toList();
    }

    /**
     * Loads the library, once, so that the generated bindings find its functions, and sees that all of them are there.
     *
     * @param bindings the generated class; it is not initialised here
     * @return the file that was loaded
     * @throws EnvironmentException if the library is not found, naming every path tried, or lacks functions
     */
    synchronized Path load(Class<?> bindings) {
        if (loaded == null) {
            List<Attempt> attempts = probe(System.getenv("CUDA_HOME"));
            if (attempts.getLast().error() != null) {
                throw new EnvironmentException("%s was not found: %s".formatted(names.getFirst(),
                        attempts.stream().map(Attempt::message).collect(Collectors.joining(", "))),
                        cure + ", or name its folder with -Dtnl.cuda.path");
            }
            SymbolLookup lookup = SymbolLookup.libraryLookup(attempts.getLast().path(), Arena.global());
            List<String> functions = functions(bindings);
            Path file = file(lookup, functions, attempts.getLast().path());
            List<String> missing = functions.stream().filter(f -> lookup.find(f).isEmpty()).sorted().toList();
            if (!missing.isEmpty()) {
                throw new EnvironmentException("%s lacks the functions %s: it is too old".formatted(file, missing),
                        cure);
            }
            preload(file);
            // The bindings look among the libraries of their class loader, which only System.load adds to.
            System.load(file.toString());
            Trace.note("loaded " + file);
            loaded = file;
        }
        return loaded;
    }

    /** NVRTC opens its built-in functions by bare name, which fails where the linker's path does not have them. */
    private void preload(Path file) {
        if (this != NVRTC) {
            return;
        }
        try (Stream<Path> files = Files.list(file.getParent())) {
            files.filter(f -> f.getFileName().toString().startsWith("libnvrtc-builtins.so.")).sorted()
                    .forEach(f -> SymbolLookup.libraryLookup(f, Arena.global()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The functions that a generated class binds: jextract writes a descriptor method for each. */
    static List<String> functions(Class<?> bindings) {
        String suffix = "$descriptor";
        return Arrays.stream(bindings.getDeclaredMethods()).map(m -> m.getName())
                .filter(name -> name.endsWith(suffix))
                .map(name -> name.substring(0, name.length() - suffix.length())).toList();
    }

    /** The file behind an open library, which the linker may have found by name: the mapping of one of its functions. */
    private static Path file(SymbolLookup lookup, List<String> functions, String path) {
        if (path.startsWith("/")) {
            return Path.of(path);
        }
        long address = functions.stream().flatMap(f -> lookup.find(f).stream()).findFirst()
                .orElseThrow(() -> new EnvironmentException(path + " has none of its functions", "reinstall it"))
                .address();
        try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
            return maps.filter(line -> contains(line, address)).map(line -> Path.of(line.substring(line.indexOf('/'))))
                    .findFirst().orElseThrow(() -> new IllegalStateException("no mapping holds " + path));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static boolean contains(String mapping, long address) {
        String range = mapping.substring(0, mapping.indexOf(' '));
        int dash = range.indexOf('-');
        return Long.compareUnsigned(Long.parseUnsignedLong(range.substring(0, dash), 16), address) <= 0
                && Long.compareUnsigned(address, Long.parseUnsignedLong(range.substring(dash + 1), 16)) < 0;
    }

    static Attempt open(String path) {
        try (Arena arena = Arena.ofConfined()) {
            SymbolLookup.libraryLookup(path, arena);
            return new Attempt(path, null);
        } catch (IllegalArgumentException e) {
            return new Attempt(path, linkerError(path).orElse(e.getMessage()));
        }
    }

    /** Java's exception does not say why; the linker itself does. */
    private static Optional<String> linkerError(String path) {
        int lazy = 1;
        Linker linker = Linker.nativeLinker();
        Optional<MemorySegment> dlopen = linker.defaultLookup().find("dlopen");
        Optional<MemorySegment> dlerror = linker.defaultLookup().find("dlerror");
        if (dlopen.isEmpty() || dlerror.isEmpty()) {
            return Optional.empty();
        }
        MethodHandle open = linker.downcallHandle(dlopen.get(), FunctionDescriptor.of(ValueLayout.ADDRESS,
                ValueLayout.ADDRESS, ValueLayout.JAVA_INT));
        MethodHandle error = linker.downcallHandle(dlerror.get(), FunctionDescriptor.of(ValueLayout.ADDRESS));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handle = (MemorySegment) open.invokeExact(arena.allocateFrom(path), lazy);
            MemorySegment text = (MemorySegment) error.invokeExact();
            return handle.address() != 0 || text.address() == 0 ? Optional.empty()
                    : Optional.of(text.reinterpret(Long.MAX_VALUE).getString(0));
        } catch (Throwable e) {
            return Optional.empty();
        }
    }
}
