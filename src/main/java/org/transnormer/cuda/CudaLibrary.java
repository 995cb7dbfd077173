package org.transnormer.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The shared libraries that the GPU needs, and how they are looked for: in the dynamic linker's path, then in folders. */
public enum CudaLibrary {
    /** The driver; it comes with the kernel module, not with the toolkit. */
    DRIVER("libcuda.so.1"),
    /** The run-time compiler. */
    NVRTC("libnvrtc.so.13", "libnvrtc.so.12"),
    CUBLASLT("libcublasLt.so.13", "libcublasLt.so.12"),
    /** Needed for several GPUs only. */
    NCCL("libnccl.so.2");

    private final List<String> names;

    /**
     * One attempt to open a library.
     *
     * @param path what was handed to the dynamic linker
     * @param error what it said; null if it opened it
     */
    public record Attempt(String path, String error) {
    }

    CudaLibrary(String... names) {
        this.names = List.of(names);
    }

    /** Names of the library, the preferred one first. */
    public List<String> names() {
        return names;
    }

    /**
     * Tries to open the library, without calling any of its functions.
     *
     * @param cudaHome folder of a CUDA toolkit, or null: the usual one
     * @return the attempts in order; the last one opened it, or none did
     */
    public List<Attempt> probe(String cudaHome) {
        List<Attempt> attempts = new ArrayList<>();
        for (String folder : List.of("", (cudaHome == null ? "/usr/local/cuda" : cudaHome) + "/lib64/")) {
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
