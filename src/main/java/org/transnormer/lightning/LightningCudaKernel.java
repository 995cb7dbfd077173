package org.transnormer.lightning;

import static org.transnormer.cuda.ArgumentType.INT;
import static org.transnormer.cuda.ArgumentType.LONG;
import static org.transnormer.cuda.ArgumentType.POINTER;

import java.util.Optional;
import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;

/**
 * One of the kernels of {@link LightningCudaSweep}; all take the same parameters.
 *
 * @param launch null before {@link #on}
 * @param threads of a block
 * @param mostKeys channels of a and b at most
 * @param columns columns of c, y and the state of one block
 * @param blocks that a call should have, so that a GPU is busy
 * @param fixedShared bytes of shared memory that a block takes
 * @param sharedPerKey and as many for each channel of a and b
 */
record LightningCudaKernel(Launch launch, int threads, int mostKeys, int columns, long blocks, int fixedShared,
        int sharedPerKey) {
    static final int WHOLE = Integer.MAX_VALUE;
    static final ArgumentType[] PARAMETERS = {
        POINTER, LONG, LONG, INT, POINTER, LONG, LONG, INT, POINTER, LONG, LONG, INT, POINTER, LONG, LONG,
        POINTER, LONG, LONG, INT, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER,
        INT, INT, INT, INT, INT, INT};
    /** Tokens of a chunk. */
    private static final int CHUNK = 64;
    private static final long SHORTEST_SEGMENT = 512;
    /** Channels that the plain kernels take at a time, and their rows in shared memory. */
    private static final int SLICE = 32;
    private static final int PITCH = SLICE + 4;
    private static final int MOST_KEYS = 512;

    /** For any strides and widths. */
    static LightningCudaKernel plain() {
        int columns = 32;
        int fixed = Float.BYTES * (2 * CHUNK * PITCH + 2 * CHUNK * columns + CHUNK + 1);
        return new LightningCudaKernel(null, 256, MOST_KEYS, columns, 256, fixed, Float.BYTES * columns);
    }

    /**
     * For BF16 rows of whole pieces of 16 bytes, by tensor cores.
     *
     * @param groups of four warps
     * @param stages tiles of so many chunks at a time
     */
    static LightningCudaKernel tensor(int keys, int columns, int groups, int stages) {
        int tiles = stages * CHUNK * (2 * keys + columns) + keys * columns + CHUNK * columns;
        int shared = 2 * tiles + Float.BYTES * (CHUNK + 2);
        return new LightningCudaKernel(null, 128 * groups, keys, columns, 128, shared, 0);
    }

    /** The same to be launched; empty if the device has too little shared memory. */
    Optional<LightningCudaKernel> on(Gpu gpu, String stem, String name) {
        int most = sharedBytes(mostKeys);
        if (most > gpu.device().sharedBytesPerBlock()) {
            return Optional.empty();
        }
        Launch prepared = Launch.of(gpu.context(), gpu.kernel(stem, name, PARAMETERS).allowSharedBytes(most));
        return Optional.of(new LightningCudaKernel(prepared.block(threads), threads, mostKeys, columns, blocks,
                fixedShared, sharedPerKey));
    }

    int sharedBytes(int keys) {
        return fixedShared + sharedPerKey * Math.ceilDiv(keys, SLICE) * SLICE;
    }

    /** Blocks of one head of one item. */
    long tiles(int values) {
        return Math.ceilDiv(values, columns);
    }

    /** Tokens of a segment, by the call's shape alone. */
    int segment(long tokens, int count, int heads, int values) {
        long whole = count * heads * tiles(values);
        if (4 * whole >= 3 * blocks || tokens <= SHORTEST_SEGMENT) {
            return WHOLE;
        }
        long perSequence = Math.ceilDiv(blocks, whole);
        long length = Math.ceilDiv(tokens, count * perSequence);
        long segment = Math.max(SHORTEST_SEGMENT, Math.ceilDiv(length, CHUNK) * CHUNK);
        return segment >= tokens ? WHOLE : (int) segment;
    }

    /** Room for the states of all segments of any call of up to so many tokens. */
    long mostBytes(long tokens, int heads, int keys, int values) {
        if (keys > mostKeys || tokens <= SHORTEST_SEGMENT) {
            return 0;
        }
        // By the choice above a call that is cut has fewer than three times as many blocks as it should have.
        long blockBytes = (long) Float.BYTES * keys * columns;
        long items = tokens / SHORTEST_SEGMENT + blocks;
        return Math.min(3 * blocks, items * heads * tiles(values)) * blockBytes;
    }
}
