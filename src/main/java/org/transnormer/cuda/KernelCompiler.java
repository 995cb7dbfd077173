package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.nvrtc.NvrtcApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.transnormer.EnvironmentException;
import org.transnormer.cuda.bindings.nvrtc.NvrtcApi;

/** NVIDIA's run-time compiler: CUDA C++ to the machine code of one architecture. It needs no GPU. */
public final class KernelCompiler {
    /** Always given: no fast-math; lines, so that tools can name them. */
    private static final List<String> OPTIONS = List.of("--std=c++17", "-lineinfo");

    private KernelCompiler() {}

    /** Loads the compiler unless that was done. */
    static Path load() {
        return CudaLibrary.NVRTC.load(NvrtcApi.class);
    }

    /** Version, such as 13.0. */
    public static String version() {
        load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT, 2);
            check("nvrtcVersion", nvrtcVersion(out, out.asSlice(C_INT.byteSize())), null);
            return out.getAtIndex(C_INT, 0) + "." + out.getAtIndex(C_INT, 1);
        }
    }

    /** Architectures that this version knows, such as 80 and 90. */
    public static List<Integer> architectures() {
        load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT);
            check("nvrtcGetNumSupportedArchs", nvrtcGetNumSupportedArchs(out), null);
            MemorySegment all = arena.allocate(C_INT, out.get(C_INT, 0));
            check("nvrtcGetSupportedArchs", nvrtcGetSupportedArchs(all), null);
            List<Integer> architectures = new ArrayList<>();
            for (int i = 0; i < out.get(C_INT, 0); i++) {
                architectures.add(all.getAtIndex(C_INT, i));
            }
            return List.copyOf(architectures);
        }
    }

    /** The options of a compilation: those that are always given, those asked for, and the architecture. */
    static List<String> options(List<String> asked, String architecture) {
        List<String> options = new ArrayList<>(OPTIONS);
        options.addAll(asked);
        options.add("--gpu-architecture=" + architecture);
        return List.copyOf(options);
    }

    /**
     * Compiles.
     *
     * @param asked more options, such as {@code -DHEAD=128}
     * @param architecture such as {@code sm_80}, as {@link Device#architecture} gives it
     * @return the machine code (a cubin)
     * @throws CudaException if the source does not compile: file, line and what is wrong
     */
    public static byte[] compile(KernelSource source, List<String> asked, String architecture) {
        load();
        checkKnown(architecture);
        List<String> options = options(asked, architecture);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment program = arena.allocate(C_POINTER);
            check("nvrtcCreateProgram", nvrtcCreateProgram(program, arena.allocateFrom(source.text()),
                    arena.allocateFrom(source.name()), source.headers().size(),
                    strings(arena, source.headers().values()), strings(arena, source.headers().keySet())),
                    source.name());
            try {
                MemorySegment handle = program.get(C_POINTER, 0);
                int status = nvrtcCompileProgram(handle, options.size(), strings(arena, options));
                if (status == NVRTC_ERROR_COMPILATION()) {
                    throw refused(source, log(arena, handle));
                }
                check("nvrtcCompileProgram", status, source.name() + " " + options);
                return code(arena, handle);
            } finally {
                nvrtcDestroyProgram(program);
            }
        }
    }

    private static void checkKnown(String architecture) {
        int number = Integer.parseInt(architecture.replaceAll("\\D", ""));
        if (!architectures().contains(number)) {
            throw new EnvironmentException("libnvrtc %s does not know %s, only %s".formatted(version(), architecture,
                    new TreeSet<>(architectures())), CudaLibrary.NVRTC.cure());
        }
    }

    private static byte[] code(Arena arena, MemorySegment handle) {
        MemorySegment size = arena.allocate(C_LONG);
        check("nvrtcGetCUBINSize", nvrtcGetCUBINSize(handle, size), null);
        MemorySegment code = arena.allocate(size.get(C_LONG, 0));
        check("nvrtcGetCUBIN", nvrtcGetCUBIN(handle, code), null);
        return code.toArray(C_CHAR);
    }

    private static String log(Arena arena, MemorySegment handle) {
        MemorySegment size = arena.allocate(C_LONG);
        check("nvrtcGetProgramLogSize", nvrtcGetProgramLogSize(handle, size), null);
        MemorySegment log = arena.allocate(Math.max(1, size.get(C_LONG, 0)));
        check("nvrtcGetProgramLog", nvrtcGetProgramLog(handle, log), null);
        return log.getString(0);
    }

    /** The first error is shown, as {@code file(line): error: ...}; the others often follow from it. */
    private static CudaException refused(KernelSource source, String log) {
        Trace.note(log);
        List<String> errors = log.lines().filter(line -> line.contains("error")).toList();
        String first = errors.isEmpty() ? log.strip() : errors.getFirst().strip();
        return new CudaException("nvrtcCompileProgram(" + source.name() + ")", NVRTC_ERROR_COMPILATION(),
                name(NVRTC_ERROR_COMPILATION()), first,
                "this is a mistake in the kernel: please report it; -Dtnl.trace.cuda shows the compiler's whole log");
    }

    private static MemorySegment strings(Arena arena, Iterable<String> texts) {
        List<MemorySegment> each = new ArrayList<>();
        texts.forEach(text -> each.add(arena.allocateFrom(text)));
        MemorySegment all = arena.allocate(C_POINTER, Math.max(1, each.size()));
        for (int i = 0; i < each.size(); i++) {
            all.setAtIndex(C_POINTER, i, each.get(i));
        }
        return all;
    }

    private static void check(String api, int code, Object detail) {
        if (Trace.ON) {
            Trace.call(api, detail, code);
        }
        if (code != NVRTC_SUCCESS()) {
            throw new CudaException(detail == null ? api : api + "(" + detail + ")", code, name(code),
                    "the run-time compiler failed", code == NVRTC_ERROR_BUILTIN_OPERATION_FAILURE()
                            ? "libnvrtc-builtins must lie beside libnvrtc and be of the same version"
                            : "-Dtnl.trace.cuda shows the calls before this one");
        }
    }

    private static String name(int code) {
        return nvrtcGetErrorString(code).getString(0);
    }
}
