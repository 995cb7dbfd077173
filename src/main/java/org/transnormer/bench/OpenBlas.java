package org.transnormer.bench;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.Optional;
import org.transnormer.tensor.Tensor;

/** OpenBLAS, loaded from a file that the user names or that the system has. Benchmarks only: no twin calls it. */
public final class OpenBlas implements GemmPeer {
    private static final int ROW_MAJOR = 101;
    private static final int PLAIN = 111;
    private static final int TRANSPOSED = 112;

    private final String name;
    private final MethodHandle setThreads;
    private final MethodHandle sgemm;

    private OpenBlas(SymbolLookup library) {
        Linker linker = Linker.nativeLinker();
        setThreads = linker.downcallHandle(library.findOrThrow("openblas_set_num_threads"),
                FunctionDescriptor.ofVoid(JAVA_INT));
        sgemm = linker.downcallHandle(library.findOrThrow("cblas_sgemm"),
                FunctionDescriptor.ofVoid(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_FLOAT,
                        ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, JAVA_FLOAT, ADDRESS, JAVA_INT));
        name = text(linker, library, "openblas_get_config") + ", running " + text(linker, library,
                "openblas_get_corename");
    }

    /**
     * Loads the library.
     *
     * @param file a path, or the bare name of a library that the system finds
     * @return empty if there is no such library or it is not an OpenBLAS with the C interface
     */
    public static Optional<OpenBlas> load(String file) {
        try {
            sleepSoon();
            return Optional.of(new OpenBlas(SymbolLookup.libraryLookup(file, Arena.global())));
        } catch (IllegalArgumentException | java.util.NoSuchElementException e) {
            return Optional.empty();
        }
    }

    /**
     * Asks the library's threads to sleep after 2^4 cycles without work, where 2^26 is usual: otherwise they still take
     * part of the cores while another library is timed.
     */
    private static void sleepSoon() {
        Linker linker = Linker.nativeLinker();
        linker.defaultLookup().find("setenv").ifPresent(setenv -> {
            try (Arena arena = Arena.ofConfined()) {
                int ignored = (int) linker.downcallHandle(setenv,
                        FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT))
                        .invokeExact(arena.allocateFrom("OPENBLAS_THREAD_TIMEOUT"), arena.allocateFrom("4"), 1);
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        });
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public void threads(int count) {
        try {
            setThreads.invokeExact(count);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void multiply(GemmShape.Direction direction, Tensor x, Tensor w, Tensor y) {
        switch (direction) {
            case FORWARD -> sgemm(PLAIN, TRANSPOSED, x.dim(1), x, w, y);
            case BACKWARD_INPUT -> sgemm(PLAIN, PLAIN, w.dim(0), y, w, x);
            case BACKWARD_WEIGHT -> sgemm(TRANSPOSED, PLAIN, x.dim(0), y, x, w);
        }
    }

    private void sgemm(int orderA, int orderB, long k, Tensor a, Tensor b, Tensor c) {
        try {
            sgemm.invokeExact(ROW_MAJOR, orderA, orderB, (int) c.dim(0), (int) c.dim(1), (int) k, 1f, data(a),
                    (int) a.stride(0), data(b), (int) b.stride(0), 0f, data(c), (int) c.stride(0));
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    private static MemorySegment data(Tensor t) {
        return t.segment().asSlice(t.byteOffset());
    }

    private static String text(Linker linker, SymbolLookup library, String function) {
        try {
            MemorySegment text = (MemorySegment) linker
                    .downcallHandle(library.findOrThrow(function), FunctionDescriptor.of(ADDRESS)).invokeExact();
            return text.reinterpret(256).getString(0);
        } catch (RuntimeException e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
