package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.transnormer.cuda.bindings.driver.CUlaunchAttribute;
import org.transnormer.cuda.bindings.driver.CUlaunchAttributeValue;
import org.transnormer.cuda.bindings.driver.CUlaunchConfig;
import org.transnormer.tensor.Tensor;

/**
 * A launch of one kernel, prepared once and used again and again: grid, block, shared memory and typed arguments keep
 * their values until they are set anew, and {@link #on} allocates nothing. The driver copies the arguments when it is
 * called, so they may be set anew at once.
 */
public final class Launch extends Owner {
    private final Kernel kernel;
    /** Whether the device lets kernels overlap. */
    private final boolean overlaps;
    private final Arena arena = Arena.ofShared();
    /** One after the other, aligned as in C. */
    private final MemorySegment values;
    private final long[] offsets;
    private final MemorySegment pointers;
    private final ArgumentType[] types;
    /** Bit i: argument i was set. */
    private long set;
    private int gridX = 1;
    private int gridY = 1;
    private int gridZ = 1;
    private int blockX = 1;
    private int blockY = 1;
    private int blockZ = 1;
    private int sharedBytes;
    /** Of a launch that overlaps, else null. */
    private MemorySegment configuration;

    private Launch(Context context, Kernel kernel) {
        super(context);
        this.kernel = kernel;
        overlaps = context.device().major() >= 9;
        types = kernel.parameters().toArray(ArgumentType[]::new);
        offsets = new long[types.length];
        long end = 0;
        for (int i = 0; i < types.length; i++) {
            long alignment = Math.min(types[i].bytes(), TensorMap.ALIGNMENT);
            offsets[i] = Math.ceilDiv(end, alignment) * alignment;
            end = offsets[i] + types[i].bytes();
        }
        values = arena.allocate(Math.max(1, end), TensorMap.ALIGNMENT);
        pointers = arena.allocate(C_POINTER, Math.max(1, types.length));
        for (int i = 0; i < types.length; i++) {
            pointers.setAtIndex(C_POINTER, i, values.asSlice(offsets[i]));
        }
    }

    /** Prepares a launch; not inside a step, since it takes host memory. */
    public static Launch of(Context context, Kernel kernel) {
        if (kernel.parameters().size() > Long.SIZE) {
            throw new IllegalArgumentException(kernel.name() + " has more than 64 parameters");
        }
        return new Launch(context, kernel);
    }

    /** Blocks; y and z up to 65,535. */
    public Launch grid(long x, long y, long z) {
        gridX = Math.toIntExact(x);
        gridY = Math.toIntExact(y);
        gridZ = Math.toIntExact(z);
        return this;
    }

    public Launch grid(long x) {
        return grid(x, 1, 1);
    }

    /** Threads of a block. */
    public Launch block(int x, int y, int z) {
        blockX = x;
        blockY = y;
        blockZ = z;
        return this;
    }

    public Launch block(int x) {
        return block(x, 1, 1);
    }

    /** Allows this kernel so much dynamic shared memory; see {@link Kernel#allowSharedBytes}. */
    public Launch allowSharedBytes(int bytes) {
        kernel.allowSharedBytes(bytes);
        return this;
    }

    /** Dynamic shared memory of a block; beyond 48 KiB see {@link #allowSharedBytes}. */
    public Launch sharedBytes(int bytes) {
        sharedBytes = bytes;
        return this;
    }

    /**
     * Lets the kernel begin before the one before it in the stream has ended, where the device can do that (compute
     * capability 9.0 and later). The kernel must call {@code await_predecessor()} before it touches what others write.
     */
    public Launch overlapping() {
        if (configuration == null && overlaps) {
            MemorySegment attribute = CUlaunchAttribute.allocate(arena);
            CUlaunchAttribute.id(attribute, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION());
            CUlaunchAttributeValue.programmaticStreamSerializationAllowed(CUlaunchAttribute.value(attribute), 1);
            configuration = CUlaunchConfig.allocate(arena);
            CUlaunchConfig.attrs(configuration, attribute);
            CUlaunchConfig.numAttrs(configuration, 1);
        }
        return this;
    }

    public Launch set(int i, DevicePtr value) {
        checkType(i, ArgumentType.POINTER);
        values.set(ValueLayout.JAVA_LONG, offsets[i], value.address());
        return this;
    }

    /** The tensor's first element; null stands for one that is not there. */
    public Launch set(int i, Tensor value) {
        return set(i, DevicePtr.ofOptional(value));
    }

    public Launch set(int i, int value) {
        checkType(i, ArgumentType.INT);
        values.set(ValueLayout.JAVA_INT, offsets[i], value);
        return this;
    }

    public Launch set(int i, long value) {
        checkType(i, ArgumentType.LONG);
        values.set(ValueLayout.JAVA_LONG, offsets[i], value);
        return this;
    }

    public Launch set(int i, float value) {
        checkType(i, ArgumentType.FLOAT);
        values.set(ValueLayout.JAVA_FLOAT, offsets[i], value);
        return this;
    }

    public Launch set(int i, double value) {
        checkType(i, ArgumentType.DOUBLE);
        values.set(ValueLayout.JAVA_DOUBLE, offsets[i], value);
        return this;
    }

    /** Copies what the map describes now. */
    public Launch set(int i, TensorMap value) {
        checkType(i, ArgumentType.TENSOR_MAP);
        MemorySegment.copy(value.bytes(), 0, values, offsets[i], TensorMap.BYTES);
        return this;
    }

    private void checkType(int i, ArgumentType given) {
        if (i < 0 || i >= types.length || types[i] != given) {
            throw new IllegalArgumentException("%s: argument %d: got %s, want %s".formatted(kernel.name(), i, given,
                    i < 0 || i >= types.length ? "an index below " + types.length : types[i]));
        }
        set |= 1L << i;
    }

    /** Enqueues the kernel. */
    public void on(Stream stream) {
        checkOpen();
        if (Long.bitCount(set) != types.length) {
            throw new IllegalStateException("%s: argument %d was never set".formatted(kernel.name(),
                    Long.numberOfTrailingZeros(~set)));
        }
        if (configuration != null) {
            onOverlapping(stream);
            return;
        }
        Driver.check("cuLaunchKernel", cuLaunchKernel(kernel.handle(), gridX, gridY, gridZ, blockX, blockY, blockZ,
                sharedBytes, stream.handle(), pointers, MemorySegment.NULL), this);
    }

    private void onOverlapping(Stream stream) {
        CUlaunchConfig.gridDimX(configuration, gridX);
        CUlaunchConfig.gridDimY(configuration, gridY);
        CUlaunchConfig.gridDimZ(configuration, gridZ);
        CUlaunchConfig.blockDimX(configuration, blockX);
        CUlaunchConfig.blockDimY(configuration, blockY);
        CUlaunchConfig.blockDimZ(configuration, blockZ);
        CUlaunchConfig.sharedMemBytes(configuration, sharedBytes);
        CUlaunchConfig.hStream(configuration, stream.handle());
        Driver.check("cuLaunchKernelEx", cuLaunchKernelEx(configuration, kernel.handle(), pointers,
                MemorySegment.NULL), this);
    }

    @Override
    public String toString() {
        return "%s, grid %dx%dx%d, block %dx%dx%d, shared bytes %d".formatted(kernel.name(), gridX, gridY, gridZ,
                blockX, blockY, blockZ, sharedBytes);
    }

    @Override
    void release() {
        arena.close();
    }
}
