package org.transnormer.parallel;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.transnormer.cuda.CudaException;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.NcclComm;
import org.transnormer.cuda.PeerMemory;
import org.transnormer.cuda.Stream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Sums over the ranks of one host whose data the copy engines of the GPUs move, while the multiprocessors compute. Every rank
 * has the bits of one sum: F32 additions in the order of the ranks, rounded once. SPEC section 7.
 *
 * <p>Calls only enqueue.
 */
abstract sealed class CopiedSums permits GatheredSums, SwappedSums {
    /**
     * What is summed so, and in turns of how much.
     *
     * @param least bytes of a tensor
     * @param turn bytes of a turn, of which a rank's memory is a small multiple
     */
    record Sizes(long least, long turn) {
        /**
         * Copies, signals and a kernel begin and end, each some microseconds: below a mebibyte NCCL is done before. A turn
         * is a sum of 8 x 2048 tokens of 2048 channels, BF16; of more than that the turns are long enough.
         */
        static final Sizes STANDARD = new Sizes(1L << 20, 64L << 20);
    }

    private static final String ONLY_NCCL = "tnl.nccl.only";
    private static final long ALIGNMENT = 256;

    /** What ranks tell each other at first: a card, then {@link #ABLE}, {@link #UNWILLING} or a status of the driver. */
    private static final int ENTRY = PeerMemory.CARD_BYTES + Integer.BYTES;
    private static final int ABLE = 0;
    private static final int UNWILLING = -1;

    final int rank;
    final int size;
    /** Of the sums. */
    final Stream stream;
    final PeerMemory memory;
    /** Bytes of a place in memory. */
    final long room;
    private final Sizes sizes;

    /**
     * Takes the memory.
     *
     * @param stream on which sums will be enqueued; closed after what is made here
     * @param room bytes of a place
     * @param places of each rank
     */
    CopiedSums(Stream stream, int rank, int size, Sizes sizes, long room, int places) {
        this.rank = rank;
        this.size = size;
        this.stream = stream;
        this.sizes = sizes;
        this.room = Math.ceilDiv(Math.max(isWilling() ? room : 0, (long) size * ENTRY), ALIGNMENT) * ALIGNMENT;
        memory = PeerMemory.of(stream, rank, size, places * this.room);
    }

    /** Takes the memory for sums beside the computation of a GPU, on a stream that is closed after what is made here. */
    static CopiedSums of(Gpu gpu, Stream stream, int rank, int size, Sizes sizes) {
        return size == 2 ? new SwappedSums(gpu, stream, rank, sizes)
                : new GatheredSums(gpu, stream, rank, size, sizes);
    }

    /** Memory of a rank, bytes. */
    static long memory(int ranks, Sizes sizes) {
        return ranks == 2 ? SwappedSums.PLACES * (sizes.turn / 2) : sizes.turn;
    }

    private static boolean isWilling() {
        return "false".equals(System.getProperty(ONLY_NCCL, "false"));
    }

    /** A rank's place i. */
    final DevicePtr place(int of, int i, long bytes) {
        return memory.of(of).slice(i * room, bytes);
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
            DevicePtr there = place(rank, 0, all.byteSize());
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
            DevicePtr there = place(rank, 0, Integer.BYTES);
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
    final boolean takes(Tensor x) {
        return x.size() * x.dtype().bytes() >= sizes.least && (x.dtype() == DType.F32 || x.dtype() == DType.BF16);
    }

    /**
     * Replaces x on every rank by the sum over the ranks, at the latest when computation has awaited it; x is one that this
     * takes, without gaps.
     *
     * @param call number of the collective, growing
     */
    abstract void sum(Tensor x, long call);

    /** The stream is behind all computation that was enqueued before. */
    void reached() {
        // only what the computation does for sums is waited for so
    }

    /** Computation, which is behind the calls up to a number on the stream, sees their sums from now on. */
    void awaited(long call) {
        // the stream has made them
    }

    /** What is called next sees all sums. */
    void finish() {
        // they are made in the order of the stream
    }

    /** Ends what sums wait for; they have no result then. */
    final void abort() {
        memory.endWaits();
    }

    /** All bytes of a tensor without gaps. */
    static DevicePtr bytes(Tensor x) {
        return DevicePtr.of(x).slice(0, x.size() * x.dtype().bytes());
    }

    final void copy(DevicePtr from, DevicePtr to) {
        if (from.bytes() > 0) {
            stream.copy(from, to);
        }
    }
}
