package org.transnormer.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Objects;

/**
 * A typed, strided view of a {@link Storage}: element type, shape, strides in elements (the last one is 1 unless the
 * last dimension has one element), offset in elements. A tensor does no arithmetic. Sizes, strides and offsets are
 * 64-bit: one million tokens of a 4·d projection pass 2^31 elements. SPEC section 1.2.
 *
 * <p>{@link #get} and {@link #set} read and write one element as a double, whatever the element type, rounding once;
 * they serve the scalar spec, tests and files. Fast twins take {@link #segment()} and {@link #byteOffset()}.
 */
public final class Tensor {
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble DOUBLE =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** Elements converted at a time. */
    private static final int COPIED = 1 << 12;

    private final String name;
    private final DType dtype;
    private final long[] shape;
    private final long[] strides;
    private final long offset;
    private final boolean contiguous;
    private final Storage storage;

    private Tensor(String name, DType dtype, long[] shape, long[] strides, long offset, Storage storage) {
        this.name = name;
        this.dtype = dtype;
        this.shape = shape;
        this.strides = strides;
        this.offset = offset;
        this.contiguous = contiguous(shape, strides);
        this.storage = storage;
    }

    /** A contiguous row-major tensor that starts at element {@code offset} of the storage. */
    public static Tensor of(String name, DType dtype, Storage storage, long offset, long... shape) {
        long[] strides = new long[shape.length];
        long size = 1;
        for (int i = shape.length - 1; i >= 0; i--) {
            strides[i] = size;
            size = Math.multiplyExact(size, shape[i]);
        }
        if (offset < 0 || Math.multiplyExact(offset + size, (long) dtype.bytes()) > storage.bytes()) {
            throw new IllegalArgumentException("tensor %s %s %s does not fit its storage of %d bytes at element %d"
                    .formatted(name, dtype, Arrays.toString(shape), storage.bytes(), offset));
        }
        return new Tensor(name, dtype, shape.clone(), strides, offset, storage);
    }

    /** A contiguous tensor in host memory of an arena. */
    public static Tensor allocate(Arena arena, String name, DType dtype, long... shape) {
        long size = 1;
        for (long n : shape) {
            size = Math.multiplyExact(size, n);
        }
        return of(name, dtype, new Storage.Host(arena.allocate(size * dtype.bytes(), HostMemory.ALIGNMENT)), 0, shape);
    }

    /** A vector of the heap's own, F64. */
    public static Tensor of(double... values) {
        return of("values", DType.F64, new Storage.Host(MemorySegment.ofArray(values.clone())), 0, values.length);
    }

    public String name() {
        return name;
    }

    public DType dtype() {
        return dtype;
    }

    public int rank() {
        return shape.length;
    }

    public long dim(int axis) {
        return shape[axis];
    }

    public long[] shape() {
        return shape.clone();
    }

    /** Distance in elements between neighbours along {@code axis}. */
    public long stride(int axis) {
        return strides[axis];
    }

    /** Number of elements of the view. */
    public long size() {
        long size = 1;
        for (long n : shape) {
            size *= n;
        }
        return size;
    }

    /** Index of the first element in the storage. */
    public long offset() {
        return offset;
    }

    public Storage storage() {
        return storage;
    }

    /** True if the elements follow each other without gaps, in row-major order. */
    public boolean isContiguous() {
        return contiguous;
    }

    /**
     * The host memory of the whole storage; element i of a contiguous view starts at
     * {@code byteOffset() + i * dtype().bytes()}.
     *
     * @throws IllegalStateException if the storage is not host memory
     */
    public MemorySegment segment() {
        return storage.segment();
    }

    public long byteOffset() {
        return offset * dtype.bytes();
    }

    /** The same elements under another name. */
    public Tensor named(String newName) {
        return new Tensor(newName, dtype, shape, strides, offset, storage);
    }

    /** The same view of another storage. */
    public Tensor in(Storage other) {
        return new Tensor(name, dtype, shape, strides, offset, other);
    }

    /** Indices {@code from} (inclusive) to {@code to} (exclusive) along {@code axis}; no copy. */
    public Tensor slice(int axis, long from, long to) {
        if (from < 0 || to < from || to > shape[axis]) {
            throw new IllegalArgumentException(
                    "%s: slice %d..%d of axis %d with %d entries".formatted(this, from, to, axis, shape[axis]));
        }
        long[] sliced = shape.clone();
        sliced[axis] = to - from;
        return new Tensor(name, dtype, sliced, strides, offset + from * strides[axis], storage);
    }

    /** Index {@code i} along {@code axis}, that axis removed; no copy. */
    public Tensor select(int axis, long i) {
        Tensor one = slice(axis, i, i + 1);
        return new Tensor(name, dtype, without(shape, axis), without(strides, axis), one.offset, storage);
    }

    /**
     * The same elements in another shape. A view is reshaped without a copy where each old run of axes that is split
     * or joined is itself gap-free; otherwise this throws.
     */
    public Tensor reshape(long... newShape) {
        long[] newStrides = new long[newShape.length];
        int from = 0;
        int to = 0;
        while (from < shape.length || to < newShape.length) {
            int fromEnd = from;
            int toEnd = to;
            long left = fromEnd < shape.length ? shape[fromEnd++] : 1;
            long right = toEnd < newShape.length ? newShape[toEnd++] : 1;
            while (left != right) {
                if (left < right && fromEnd < shape.length) {
                    left *= shape[fromEnd++];
                } else if (right < left && toEnd < newShape.length) {
                    right *= newShape[toEnd++];
                } else {
                    throw new IllegalArgumentException(
                            "cannot view %s as %s".formatted(this, Arrays.toString(newShape)));
                }
            }
            for (int i = from; i < fromEnd - 1; i++) {
                if (shape[i] != 1 && strides[i] != strides[i + 1] * shape[i + 1]) {
                    throw new IllegalArgumentException("cannot view %s with strides %s as %s"
                            .formatted(this, Arrays.toString(strides), Arrays.toString(newShape)));
                }
            }
            long stride = fromEnd > from ? strides[fromEnd - 1] : 1;
            for (int i = toEnd - 1; i >= to; i--) {
                newStrides[i] = stride;
                stride *= newShape[i];
            }
            from = fromEnd;
            to = toEnd;
        }
        return new Tensor(name, dtype, newShape.clone(), newStrides, offset, storage);
    }

    public double get(long i) {
        return at(offset + i * strides[0]);
    }

    public double get(long i, long j) {
        return at(offset + i * strides[0] + j * strides[1]);
    }

    public double get(long i, long j, long k) {
        return at(offset + i * strides[0] + j * strides[1] + k * strides[2]);
    }

    public double get(long i, long j, long k, long l) {
        return at(offset + i * strides[0] + j * strides[1] + k * strides[2] + l * strides[3]);
    }

    public void set(long i, double x) {
        put(offset + i * strides[0], x);
    }

    public void set(long i, long j, double x) {
        put(offset + i * strides[0] + j * strides[1], x);
    }

    public void set(long i, long j, long k, double x) {
        put(offset + i * strides[0] + j * strides[1] + k * strides[2], x);
    }

    public void set(long i, long j, long k, long l, double x) {
        put(offset + i * strides[0] + j * strides[1] + k * strides[2] + l * strides[3], x);
    }

    /** Element i of the view in row-major order. */
    public double getFlat(long i) {
        return at(flatOffset(i));
    }

    /** values_i = element first + i of the view in row-major order, for i &lt; count; many times faster. */
    public void getFlat(long first, double[] values, int count) {
        Objects.checkFromIndexSize(0, count, values.length);
        if (!contiguous) {
            for (int i = 0; i < count; i++) {
                values[i] = getFlat(first + i);
            }
            return;
        }
        // one loop to a type: the compiler makes vector instructions of each
        MemorySegment s = segment().asSlice((offset + first) * dtype.bytes(), (long) count * dtype.bytes());
        switch (dtype) {
            case F64 -> MemorySegment.copy(s, DOUBLE, 0, values, 0, count);
            case F32 -> {
                for (int i = 0; i < count; i++) {
                    values[i] = s.get(FLOAT, (long) i << 2);
                }
            }
            default -> {
                for (int i = 0; i < count; i++) {
                    values[i] = at(offset + first + i);
                }
            }
        }
    }

    /** Writes element i of the view in row-major order, rounded once to the element type. */
    public void setFlat(long i, double x) {
        put(flatOffset(i), x);
    }

    /** Writes values_i as element first + i of the view in row-major order, for i &lt; count; many times faster. */
    public void setFlat(long first, double[] values, int count) {
        Objects.checkFromIndexSize(0, count, values.length);
        if (!contiguous) {
            for (int i = 0; i < count; i++) {
                setFlat(first + i, values[i]);
            }
            return;
        }
        MemorySegment s = segment().asSlice((offset + first) * dtype.bytes(), (long) count * dtype.bytes());
        switch (dtype) {
            case F64 -> MemorySegment.copy(values, 0, s, DOUBLE, 0, count);
            case F32 -> {
                for (int i = 0; i < count; i++) {
                    s.set(FLOAT, (long) i << 2, (float) values[i]);
                }
            }
            default -> {
                for (int i = 0; i < count; i++) {
                    put(offset + first + i, values[i]);
                }
            }
        }
    }

    public int getInt(long i) {
        return segment().get(INT, (offset + i * strides[0]) * Integer.BYTES);
    }

    public void setInt(long i, int x) {
        segment().set(INT, (offset + i * strides[0]) * Integer.BYTES, x);
    }

    /**
     * Copies a tensor of the same shape, converting the element type (one rounding). Between host and device, or inside a
     * device, in the order of the work enqueued there; a tensor that both sides hold is copied as the host sees it.
     *
     * @throws IllegalArgumentException if the shapes differ, or this tensor lies on a device and has gaps
     */
    public void copyFrom(Tensor other) {
        if (!Arrays.equals(shape, other.shape)) {
            throw new IllegalArgumentException("cannot copy %s into %s".formatted(other, this));
        }
        if (!(storage instanceof Storage.Device to)) {
            copyToHost(other);
            return;
        }
        checkGapless();
        if (dtype == other.dtype && other.isContiguous() && !(other.storage instanceof Storage.Planned)) {
            long bytes = size() * dtype.bytes();
            if (other.storage instanceof Storage.Device from) {
                to.transfer().copy(from.address() + other.byteOffset(), to.address() + byteOffset(), bytes);
            } else {
                to.transfer().upload(other.segment().asSlice(other.byteOffset(), bytes), to.address() + byteOffset());
            }
            return;
        }
        try (Arena arena = Arena.ofConfined()) {
            Tensor converted = allocate(arena, name, dtype, shape);
            converted.copyFrom(other);
            copyFrom(converted);
        }
    }

    private void copyToHost(Tensor other) {
        if (other.storage instanceof Storage.Device from) {
            copySpan(other, from);
        } else if (dtype == other.dtype && isContiguous() && other.isContiguous()) {
            MemorySegment.copy(other.segment(), other.byteOffset(), segment(), byteOffset(), size() * dtype.bytes());
        } else {
            long size = size();
            double[] values = new double[(int) Math.min(size, COPIED)];
            for (long first = 0; first < size; first += COPIED) {
                int count = (int) Math.min(size - first, COPIED);
                other.getFlat(first, values, count);
                setFlat(first, values, count);
            }
        }
    }

    /** Reads a device tensor: straight into place if it can be, else from its first to its last element with the gaps. */
    private void copySpan(Tensor other, Storage.Device from) {
        long address = from.address() + other.byteOffset();
        if (dtype == other.dtype && isContiguous() && other.isContiguous()) {
            from.transfer().download(address, segment().asSlice(byteOffset(), size() * dtype.bytes()));
            return;
        }
        if (size() == 0) {
            return;
        }
        long span = 1;
        for (int axis = 0; axis < shape.length; axis++) {
            span += (other.shape[axis] - 1) * other.strides[axis];
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment whole = arena.allocate(span * other.dtype.bytes(), HostMemory.ALIGNMENT);
            from.transfer().download(address, whole);
            copyToHost(new Tensor(other.name, other.dtype, other.shape, other.strides, 0, new Storage.Host(whole)));
        }
    }

    /** Sets every element; of a tensor that both host and device hold, the host's. */
    public void fill(double x) {
        if (storage instanceof Storage.Device device) {
            checkGapless();
            if (x != 0) {
                throw new IllegalArgumentException("%s lies on a device, where only zero is filled in".formatted(this));
            }
            device.transfer().zero(device.address() + byteOffset(), size() * dtype.bytes());
            return;
        }
        long size = size();
        if (x == 0 && isContiguous()) {
            segment().asSlice(byteOffset(), size * dtype.bytes()).fill((byte) 0);
            return;
        }
        for (long i = 0; i < size; i++) {
            setFlat(i, x);
        }
    }

    private void checkGapless() {
        if (!isContiguous()) {
            throw new IllegalArgumentException(
                    "%s lies on a device with gaps and cannot be written whole".formatted(this));
        }
    }

    /** Makes the device see what the host wrote; nothing where there is no such pair. The tensor has no gaps. */
    public void upload() {
        if (storage instanceof Storage.Mirrored both) {
            checkGapless();
            both.transfer().upload(segment().asSlice(byteOffset(), size() * dtype.bytes()),
                    both.address() + byteOffset());
        }
    }

    /** Waits for the device and makes the host see what it wrote; nothing where there is no such pair. */
    public void download() {
        if (storage instanceof Storage.Mirrored both) {
            checkGapless();
            both.transfer().download(both.address() + byteOffset(),
                    segment().asSlice(byteOffset(), size() * dtype.bytes()));
        }
    }

    @Override
    public String toString() {
        return "%s %s %s".formatted(name, dtype, Arrays.toString(shape));
    }

    private static boolean contiguous(long[] shape, long[] strides) {
        long expected = 1;
        for (int i = shape.length - 1; i >= 0; i--) {
            if (shape[i] != 1 && strides[i] != expected) {
                return false;
            }
            expected *= shape[i];
        }
        return true;
    }

    private long flatOffset(long i) {
        if (contiguous) {
            return offset + i;
        }
        long at = offset;
        for (int axis = shape.length - 1; axis >= 0; axis--) {
            long n = shape[axis];
            at += i % n * strides[axis];
            i /= n;
        }
        return at;
    }

    private double at(long element) {
        MemorySegment s = storage.segment();
        return switch (dtype) {
            case F64 -> s.get(DOUBLE, element << 3);
            case F32 -> s.get(FLOAT, element << 2);
            case BF16 -> Bf16.toFloat(s.get(SHORT, element << 1));
            case F16 -> Float.float16ToFloat(s.get(SHORT, element << 1));
            case I32 -> s.get(INT, element << 2);
        };
    }

    private void put(long element, double x) {
        MemorySegment s = storage.segment();
        switch (dtype) {
            case F64 -> s.set(DOUBLE, element << 3, x);
            case F32 -> s.set(FLOAT, element << 2, (float) x);
            case BF16 -> s.set(SHORT, element << 1, Bf16.fromDouble(x));
            case F16 -> s.set(SHORT, element << 1, F16.fromDouble(x));
            case I32 -> s.set(INT, element << 2, (int) x);
        }
    }

    private static long[] without(long[] values, int axis) {
        long[] rest = new long[values.length - 1];
        System.arraycopy(values, 0, rest, 0, axis);
        System.arraycopy(values, axis + 1, rest, axis, rest.length - axis);
        return rest;
    }
}
