package org.transnormer.tensor;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Zeroed memory straight from Linux, which is asked for huge pages: products walk down the rows of matrices, and
 * with pages of 4 KiB each row of 1,024 floats is another entry of the address translation.
 */
final class HugePages {
    /** What huge pages have on x86-64, and on Arm with pages of 4 KiB. */
    static final long BYTES = 2 << 20;

    /** Whether this system has them, and maps memory without taking it. */
    static final boolean AVAILABLE = System.getProperty("os.name").equals("Linux");

    private static final int READ_WRITE = 3;
    private static final int PRIVATE_ANONYMOUS = 0x22;
    private static final int WANT_HUGE_PAGES = 14;

    private HugePages() {}

    /**
     * @param bytes a multiple of {@link #BYTES}
     * @return a segment of that size, aligned to {@link #BYTES}, given back when the arena closes; memory is taken when it
     * is first written
     * @throws OutOfMemoryError if the system has no room
     */
    static MemorySegment allocate(Arena arena, long bytes) {
        long mapped = Math.addExact(bytes, BYTES);
        long start = Calls.map(mapped);
        if (start == -1) {
            throw new OutOfMemoryError("the system has no %,d bytes".formatted(bytes));
        }
        long aligned = Math.ceilDiv(start, BYTES) * BYTES;
        Calls.wantHugePages(aligned, bytes);
        return MemorySegment.ofAddress(aligned).reinterpret(bytes, arena, memory -> Calls.unmap(start, mapped));
    }

    /** Three functions of the C library; a class of its own, so that other systems never look for them. */
    private static final class Calls {
        private static final MethodHandle MMAP = function("mmap", FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_LONG,
                JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
        private static final MethodHandle MADVISE = function("madvise", FunctionDescriptor.of(JAVA_INT, ADDRESS,
                JAVA_LONG, JAVA_INT));
        private static final MethodHandle MUNMAP = function("munmap", FunctionDescriptor.of(JAVA_INT, ADDRESS,
                JAVA_LONG));

        static long map(long bytes) {
            try {
                return ((MemorySegment) MMAP.invokeExact(MemorySegment.NULL, bytes, READ_WRITE, PRIVATE_ANONYMOUS, -1,
                        0L)).address();
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }

        /** A wish: a kernel without huge pages says no, and nothing is lost. */
        static void wantHugePages(long start, long bytes) {
            try {
                int ignored = (int) MADVISE.invokeExact(MemorySegment.ofAddress(start), bytes, WANT_HUGE_PAGES);
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }

        static void unmap(long start, long bytes) {
            try {
                int ignored = (int) MUNMAP.invokeExact(MemorySegment.ofAddress(start), bytes);
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }

        private static MethodHandle function(String name, FunctionDescriptor type) {
            Linker linker = Linker.nativeLinker();
            return linker.downcallHandle(linker.defaultLookup().find(name).orElseThrow(), type);
        }
    }
}
