package org.transnormer.parallel;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.CudaException;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.cuda.NcclComm;
import org.transnormer.cuda.PeerMemory;
import org.transnormer.cuda.Stream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Sums over the ranks of one host whose data the copy engines of the GPUs move, while the multiprocessors compute. Each rank
 * sums a slice of the tensor: all give it theirs, it adds in the order of the ranks, all fetch the result. So every rank has
 * the bits of one sum: F32 additions in one order, rounded once. SPEC section 7.2.
 *
 * <p>Calls only enqueue, on one stream. That, and what is waited for anyway, keeps data from being overwritten before it is
 * read: who sends into an inbox has heard, in the turn before, that its owner had summed what was there; who publishes has
 * heard, in this turn, from those who had fetched before what was published then.
 */
final class CopiedSums {
    /**
     * What is summed so, and in turns of how much.
     *
     * @param least bytes of a tensor
     * @param turn bytes of a turn, which is what a rank's memory for it comes to
     */
    record Sizes(long least, long turn) {
        /**
         * Two copies, two signals and a kernel begin and end, each some microseconds: below a mebibyte NCCL is done
         * before. A turn is a sum of 8 x 2048 tokens of 2048 channels, BF16; of more than that the turns are long enough.
         */
        static final Sizes STANDARD = new Sizes(1L << 20, 64L << 20);
    }

    private static final String ONLY_NCCL = "tnl.nccl.only";

    /** Signals: a rank's part of a slice is with who sums it; a slice's sum is there to be fetched. */
    private static final int ARRIVED = 0;
    private static final int READY = 1;

    /** Slices begin where a load of 16 bytes may, and so do inboxes. */
    private static final long UNIT = 16;
    private static final long ALIGNMENT = 256;
    /** As in cuda/sums.cu: threads of a block, loads of each. */
    private static final int WARP = 32;
    private static final int PIECES = 8;

    /** What ranks tell each other at first: a card, and in what of {@link #ABLE} or a status of the driver they are. */
    private static final int ENTRY = PeerMemory.CARD_BYTES + Integer.BYTES;
    private static final int ABLE = 0;
    private static final int UNWILLING = -1;

    private final int rank;
    private final int size;
    private final Stream stream;
    private final PeerMemory memory;
    private final Sizes sizes;
    /** Bytes of a slice in one turn, at most. */
    private final long room;
    private final Launch f32;
    private final Launch bf16;
    private int turn;

    /**
     * Takes the memory.
     *
     * @param stream on which sums will be enqueued; closed after what is made here
     */
    CopiedSums(Gpu gpu, Stream stream, int rank, int size, Sizes sizes) {
        this.rank = rank;
        this.size = size;
        this.stream = stream;
        this.sizes = sizes;
        room = Math.ceilDiv(Math.max(isWilling() ? sizes.turn / size : 0, (long) size * ENTRY), ALIGNMENT) * ALIGNMENT;
        memory = PeerMemory.of(stream, rank, size, size * room);
        f32 = launch(gpu, "sums_f32");
        bf16 = launch(gpu, "sums_bf16");
    }

    private static Launch launch(Gpu gpu, String kernel) {
        return gpu.launch("sums", kernel, ArgumentType.POINTER, ArgumentType.POINTER, ArgumentType.LONG,
                ArgumentType.POINTER, ArgumentType.LONG, ArgumentType.INT, ArgumentType.INT).block(WARP);
    }

    private static boolean isWilling() {
        return "false".equals(System.getProperty(ONLY_NCCL, "false"));
    }

    // ---- Meeting ---------------------------------------------------------------------------------------------------

    /**
     * Finds out whether every rank reaches the memory of every other one. Every rank calls this, when all have taken
     * theirs: a driver that takes memory may wait for another rank's GPU, which waits here.
     *
     * @param comm of the same ranks
     * @return why not, the same on every rank; or nothing, and sums can be called
     */
    Optional<String> connect(NcclComm comm) {
        List<ByteBuffer> entries = exchange(comm);
        for (int r = 0; r < size; r++) {
            int state = entries.get(r).getInt(PeerMemory.CARD_BYTES);
            if (state == UNWILLING) {
                return Optional.of("rank %d has -D%s".formatted(r, ONLY_NCCL));
            }
            if (state != ABLE) {
                return Optional.of("rank %d cannot show its memory, status %d of the driver".formatted(r, state));
            }
            if (!PeerMemory.areOnOneHost(entries.get(0).array(), entries.get(r).array())) {
                return Optional.of("rank %d is on another host than rank 0".formatted(r));
            }
        }
        int refused = open(entries);
        // Likewise a driver that opens another GPU's memory may wait for that GPU.
        comm.meet();
        return Optional.ofNullable(refusal(largest(comm, refused)));
    }

    /** Where the ranks' memory is; what is exchanged lies where only this rank writes. */
    private List<ByteBuffer> exchange(NcclComm comm) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment all = arena.allocate((long) size * ENTRY);
            DevicePtr there = published(rank, all.byteSize());
            DevicePtr own = there.slice((long) rank * ENTRY, ENTRY);
            stream.upload(all.asSlice(0, ENTRY).copyFrom(MemorySegment.ofArray(entry())), own);
            comm.allGather(stream, own, there, ENTRY / Integer.BYTES, DType.I32);
            stream.download(there, all);
            stream.synchronize();
            return IntStream.range(0, size).mapToObj(r -> ByteBuffer.wrap(all.asSlice((long) r * ENTRY, ENTRY)
                    .toArray(ValueLayout.JAVA_BYTE))).toList();
        }
    }

    private byte[] entry() {
        ByteBuffer entry = ByteBuffer.allocate(ENTRY);
        try {
            return entry.put(memory.card()).putInt(isWilling() ? ABLE : UNWILLING).array();
        } catch (CudaException e) {
            return entry.putInt(PeerMemory.CARD_BYTES, e.code()).array();
        }
    }

    /** Status of the driver, this rank, the one it cannot reach, in 16, 8 and 8 bits; 0 if there is none. */
    private int open(List<ByteBuffer> entries) {
        for (int r = 0; r < size; r++) {
            try {
                if (r != rank) {
                    memory.open(r, entries.get(r).array());
                }
            } catch (CudaException e) {
                return e.code() << 16 | rank << 8 | r;
            }
        }
        return 0;
    }

    private int largest(NcclComm comm, int mine) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment value = arena.allocateFrom(ValueLayout.JAVA_INT, mine);
            DevicePtr there = published(rank, Integer.BYTES);
            stream.upload(value, there);
            comm.allReduceMax(stream, there, there, 1, DType.I32);
            stream.download(there, value);
            stream.synchronize();
            return value.get(ValueLayout.JAVA_INT, 0);
        }
    }

    private static String refusal(int state) {
        return state == 0 ? null : "rank %d cannot reach the memory of rank %d, status %d of the driver".formatted(
                state >> 8 & 0xff, state & 0xff, state >> 16);
    }

    // ---- Sums ------------------------------------------------------------------------------------------------------

    /** Whether a tensor is summed here. */
    boolean takes(Tensor x) {
        return x.size() * x.dtype().bytes() >= sizes.least && (x.dtype() == DType.F32 || x.dtype() == DType.BF16);
    }

    /** Replaces x on every rank by the sum over the ranks; x is one that this takes, without gaps. */
    void sum(Tensor x) {
        DevicePtr all = DevicePtr.of(x).slice(0, x.size() * x.dtype().bytes());
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
            copy(published(other, part.bytes()), part);
        }
    }

    private void copy(DevicePtr from, DevicePtr to) {
        if (from.bytes() > 0) {
            stream.copy(from, to);
        }
    }

    private void add(DevicePtr x, DType dtype) {
        if (x.bytes() > 0) {
            (dtype == DType.F32 ? f32 : bf16).set(0, x).set(1, inboxes(rank)).set(2, room / dtype.bytes())
                    .set(3, published(rank, x.bytes())).set(4, x.bytes() / dtype.bytes()).set(5, rank).set(6, size)
                    .grid(Math.ceilDiv(x.bytes(), UNIT * WARP * PIECES)).on(stream);
        }
    }

    /** What a rank sums of x. */
    private DevicePtr slice(DevicePtr x, int of) {
        long units = Math.ceilDiv(x.bytes(), UNIT);
        long from = Math.min(x.bytes(), units * of / size * UNIT);
        return x.slice(from, Math.min(x.bytes(), units * (of + 1) / size * UNIT) - from);
    }

    /** Where a rank leaves sums for others to fetch. */
    private DevicePtr published(int of, long bytes) {
        return memory.of(of).slice(0, bytes);
    }

    /** Where others leave their parts of its slice, in their order, without itself. */
    private DevicePtr inboxes(int of) {
        return memory.of(of).slice(room, (size - 1) * room);
    }

    private DevicePtr inbox(int of, int from, long bytes) {
        return inboxes(of).slice((from < of ? from : from - 1) * room, bytes);
    }

    /** Ends what sums wait for; they have no result then. */
    void abort() {
        memory.endWaits();
    }
}
