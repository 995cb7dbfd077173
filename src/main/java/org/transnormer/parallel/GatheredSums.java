package org.transnormer.parallel;

import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.cuda.Stream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Sums of three and more ranks: each sums a slice of the tensor; all give it theirs, it adds, all fetch the result. So each
 * sends 2 (P - 1) / P of the tensor. SPEC section 7.
 *
 * <p>The order of the stream, and what is waited for anyway, keeps data from being overwritten before it is read: who sends
 * into an inbox has heard, in the turn before, that its owner had summed what was there; who publishes has heard, in this turn,
 * from those who had fetched before what was published then.
 */
final class GatheredSums extends CopiedSums {
    /** Signals: a rank's part of a slice is with who sums it; a slice's sum is there to be fetched. */
    private static final int ARRIVED = 0;
    private static final int READY = 1;

    /** Slices begin where a load of 16 bytes may, and so do inboxes. */
    private static final long UNIT = 16;
    /** As in cuda/sums.cu: threads of a block, loads of each. */
    private static final int WARP = 32;
    private static final int PIECES = 8;

    private final Launch f32;
    private final Launch bf16;
    private int turn;

    /** A place for what it publishes, then one for each other rank's part. */
    GatheredSums(Gpu gpu, Stream stream, int rank, int size, Sizes sizes) {
        super(stream, rank, size, sizes, sizes.turn() / size, size);
        f32 = launch(gpu, "sums_f32");
        bf16 = launch(gpu, "sums_bf16");
    }

    private static Launch launch(Gpu gpu, String kernel) {
        return gpu.launch("sums", kernel, ArgumentType.POINTER, ArgumentType.POINTER, ArgumentType.LONG,
                ArgumentType.POINTER, ArgumentType.LONG, ArgumentType.INT, ArgumentType.INT).block(WARP);
    }

    @Override
    void sum(Tensor x, long call) {
        DevicePtr all = bytes(x);
        long most = size * room;
        for (long from = 0; from < all.bytes(); from += most) {
            sum(all.slice(from, Math.min(most, all.bytes() - from)), x.dtype());
        }
    }

    private void sum(DevicePtr x, DType dtype) {
        turn++;
        for (int i = 1; i < size; i++) {
            int other = (rank + i) % size;
            DevicePtr part = slice(x, other);
            copy(part, inbox(other, rank, part.bytes()));
            memory.tell(other, ARRIVED, turn);
        }
        for (int i = 1; i < size; i++) {
            memory.await((rank + i) % size, ARRIVED, turn);
        }
        add(slice(x, rank), dtype);
        for (int i = 1; i < size; i++) {
            memory.tell((rank + i) % size, READY, turn);
        }
        for (int i = 1; i < size; i++) {
            int other = (rank + i) % size;
            DevicePtr part = slice(x, other);
            memory.await(other, READY, turn);
            copy(place(other, 0, part.bytes()), part);
        }
    }

    private void add(DevicePtr x, DType dtype) {
        if (x.bytes() > 0) {
            (dtype == DType.F32 ? f32 : bf16).set(0, x).set(1, place(rank, 1, (size - 1) * room))
                    .set(2, room / dtype.bytes())
                    .set(3, place(rank, 0, x.bytes())).set(4, x.bytes() / dtype.bytes()).set(5, rank).set(6, size)
                    .grid(Math.ceilDiv(x.bytes(), UNIT * WARP * PIECES)).on(stream);
        }
    }

    /** What a rank sums of x. */
    private DevicePtr slice(DevicePtr x, int of) {
        long units = Math.ceilDiv(x.bytes(), UNIT);
        long from = Math.min(x.bytes(), units * of / size * UNIT);
        return x.slice(from, Math.min(x.bytes(), units * (of + 1) / size * UNIT) - from);
    }

    /** Where a rank's part is left for another one. */
    private DevicePtr inbox(int of, int from, long bytes) {
        return place(of, from < of ? 1 + from : from, bytes);
    }
}
