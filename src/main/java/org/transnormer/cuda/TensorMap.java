package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Describes a tensor in device memory to the copy engine of compute capability 9.0, which then copies a box of it into
 * shared memory at the word of one thread. Made once; describing a tensor anew allocates nothing.
 */
public final class TensorMap extends Owner {
    static final int BYTES = 128;
    static final int ALIGNMENT = 64;
    /** Columns of a tile, 128 bytes: as many as the 128-byte swizzle permutes. */
    private static final int COLUMNS = 64;
    private static final int RANK = 4;

    private final Arena arena = Arena.ofShared();
    private final MemorySegment map = arena.allocate(BYTES, ALIGNMENT);
    private final MemorySegment sizes = arena.allocate(C_LONG, RANK);
    private final MemorySegment strides = arena.allocate(C_LONG, RANK - 1);
    private final MemorySegment box = arena.allocate(C_INT, RANK);
    private final MemorySegment steps = arena.allocate(C_INT, RANK);

    public TensorMap(Context context) {
        super(context);
        for (int i = 0; i < RANK; i++) {
            steps.setAtIndex(C_INT, i, 1);
        }
    }

    /** Whether {@link #heads} can describe it: BF16, channels in whole tiles, address and strides multiples of 16 bytes. */
    public static boolean covers(Tensor x) {
        return x.dtype() == DType.BF16 && x.dim(2) % COLUMNS == 0 && DevicePtr.of(x).address() % 16 == 0
                && x.stride(0) % 8 == 0 && x.stride(1) % 8 == 0 && x.stride(0) > 0 && x.stride(1) > 0;
    }

    /**
     * A tensor (T, H, d), BF16, as (H, d/64, T, 64): a box is {@code rows} tokens of one head, as tiles 64 columns wide,
     * one after the other, in the hardware's 128-byte swizzle. Rows past the last token are zero.
     */
    public TensorMap heads(Tensor x, int rows) {
        int tiles = Math.toIntExact(x.dim(2) / COLUMNS);
        dimension(0, COLUMNS, COLUMNS, 1);
        dimension(1, x.dim(0), rows, x.stride(0));
        dimension(2, tiles, tiles, COLUMNS);
        dimension(3, x.dim(1), 1, x.stride(1));
        Driver.check("cuTensorMapEncodeTiled",
                cuTensorMapEncodeTiled(open(map), CU_TENSOR_MAP_DATA_TYPE_BFLOAT16(), RANK,
                        MemorySegment.ofAddress(DevicePtr.of(x).address()), sizes, strides, box, steps,
                        CU_TENSOR_MAP_INTERLEAVE_NONE(), CU_TENSOR_MAP_SWIZZLE_128B(),
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B(),
                        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE()),
                x);
        return this;
    }

    private void dimension(int i, long size, int boxSize, long stride) {
        sizes.setAtIndex(C_LONG, i, size);
        box.setAtIndex(C_INT, i, boxSize);
        if (i > 0) {
            strides.setAtIndex(C_LONG, i - 1, stride * DType.BF16.bytes());
        }
    }

    MemorySegment bytes() {
        return open(map);
    }

    @Override
    void release() {
        arena.close();
    }
}
