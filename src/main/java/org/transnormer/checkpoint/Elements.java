package org.transnormer.checkpoint;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.transnormer.tensor.Bf16;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * Converts runs of elements between a file's types and a tensor's. One rounding; equal types are copied bit by bit, NaN
 * payloads included. Both sides are little-endian whatever the machine, and need no alignment.
 */
final class Elements {
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(LITTLE_ENDIAN);
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LITTLE_ENDIAN);

    private Elements() {
    }

    /** A stretch of a view that has no gaps. */
    @FunctionalInterface
    interface Run<E extends Exception> {
        /**
         * @param first row-major index of its first element in the view
         * @param at index of that element in the storage
         * @param count number of elements
         */
        void accept(long first, long at, long count) throws E;
    }

    /** Calls {@code body} for every run of {@code t}, in row-major order; the runs are as long as can be. */
    static <E extends Exception> void forEachRun(Tensor t, Run<E> body) throws E {
        int outer = t.rank();
        long count = 1;
        while (outer > 0 && (t.dim(outer - 1) == 1 || t.stride(outer - 1) == count)) {
            count *= t.dim(--outer);
        }
        long runs = t.size() == 0 ? 0 : t.size() / count;
        for (long run = 0; run < runs; run++) {
            long at = t.offset();
            long rest = run;
            for (int axis = outer - 1; axis >= 0; axis--) {
                at += rest % t.dim(axis) * t.stride(axis);
                rest /= t.dim(axis);
            }
            body.accept(run * count, at, count);
        }
    }

    /** Whether a file's tensors of type {@code from} can be read into tensors of type {@code to}. */
    static boolean convertible(FileDType from, DType to) {
        return to.isFloat() ? from.tensorType() != null && from.tensorType().isFloat() : from.isInteger();
    }

    /**
     * Copies {@code count} elements; the pair of types is {@link #convertible} or, to a file, two floating types or one
     * type twice.
     *
     * @return -1, or the number of the first element that the target cannot hold (integers); copying ends before it
     */
    static long copy(MemorySegment from, long fromByte, FileDType source, MemorySegment to, long toByte,
            FileDType target, long count) {
        if (source == target) {
            MemorySegment.copy(from, fromByte, to, toByte, count * source.bytes());
        } else if (target == FileDType.I32) {
            return narrow(from, fromByte, source, to, toByte, count);
        } else if (source == FileDType.BF16 && target == FileDType.F32) {
            widenBf16(from, fromByte, to, toByte, count);
        } else if (source == FileDType.F16 && target == FileDType.F32) {
            widenF16(from, fromByte, to, toByte, count);
        } else if (source == FileDType.F32 && target == FileDType.BF16) {
            roundBf16(from, fromByte, to, toByte, count);
        } else if (source == FileDType.F32 && target == FileDType.F16) {
            roundF16(from, fromByte, to, toByte, count);
        } else {
            tensor(to, toByte, target, count).copyFrom(tensor(from, fromByte, source, count));
        }
        return -1;
    }

    // One loop to a method: each is compiled for the one kind of memory that it sees.

    private static void widenBf16(MemorySegment from, long fromByte, MemorySegment to, long toByte, long count) {
        for (long i = 0; i < count; i++) {
            to.set(INT, toByte + 4 * i, from.get(SHORT, fromByte + 2 * i) << 16);
        }
    }

    private static void widenF16(MemorySegment from, long fromByte, MemorySegment to, long toByte, long count) {
        for (long i = 0; i < count; i++) {
            to.set(FLOAT, toByte + 4 * i, Float.float16ToFloat(from.get(SHORT, fromByte + 2 * i)));
        }
    }

    private static void roundBf16(MemorySegment from, long fromByte, MemorySegment to, long toByte, long count) {
        for (long i = 0; i < count; i++) {
            to.set(SHORT, toByte + 2 * i, Bf16.fromFloat(from.get(FLOAT, fromByte + 4 * i)));
        }
    }

    private static void roundF16(MemorySegment from, long fromByte, MemorySegment to, long toByte, long count) {
        for (long i = 0; i < count; i++) {
            to.set(SHORT, toByte + 2 * i, Float.floatToFloat16(from.get(FLOAT, fromByte + 4 * i)));
        }
    }

    private static long narrow(MemorySegment from, long fromByte, FileDType source, MemorySegment to, long toByte,
            long count) {
        for (long i = 0; i < count; i++) {
            long x = integer(from, fromByte + i * source.bytes(), source);
            if (x != (int) x) {
                return i;
            }
            to.set(INT, toByte + i * Integer.BYTES, (int) x);
        }
        return -1;
    }

    /** An element of an integer type; U64 beyond 63 bits comes out as {@link Long#MIN_VALUE}, which no target holds. */
    private static long integer(MemorySegment from, long at, FileDType type) {
        return switch (type) {
            case I64 -> from.get(LONG, at);
            case U64 -> from.get(LONG, at) < 0 ? Long.MIN_VALUE : from.get(LONG, at);
            case I32 -> from.get(INT, at);
            case U32 -> Integer.toUnsignedLong(from.get(INT, at));
            case I16 -> from.get(SHORT, at);
            case U16 -> Short.toUnsignedLong(from.get(SHORT, at));
            case I8 -> from.get(ValueLayout.JAVA_BYTE, at);
            case U8, BOOL -> Byte.toUnsignedLong(from.get(ValueLayout.JAVA_BYTE, at));
            default -> throw new IllegalArgumentException(type + " is no integer type");
        };
    }

    /** An element of an integer type in decimal. */
    static String shown(MemorySegment from, long at, FileDType type) {
        return type == FileDType.U64 ? Long.toUnsignedString(from.get(LONG, at))
                : Long.toString(integer(from, at, type));
    }

    private static Tensor tensor(MemorySegment memory, long at, FileDType type, long count) {
        return Tensor.of("elements", type.tensorType(), new Storage.Host(memory.asSlice(at, count * type.bytes())), 0,
                count);
    }
}
