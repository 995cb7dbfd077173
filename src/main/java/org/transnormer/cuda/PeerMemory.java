package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.UUID;
import org.transnormer.cuda.bindings.driver.CUipcMemHandle;

/**
 * A piece of memory on each of several GPUs of one host, which all ranks read and write; ranks are processes, or threads of
 * one. A stream of each rank moves the data and gives signals: counts, which only grow, and which the streams of others
 * wait for. Each rank takes its piece, gives the others its card by whatever way there is, and opens theirs.
 *
 * <p>Everything only enqueues but {@link #close}, which waits for the others, since they may still read; not for long, since
 * one may be gone.
 */
public final class PeerMemory extends Owner {
    /** Bytes of a card. */
    public static final int CARD_BYTES = 128;

    /** Kinds of signals that a rank gives another. */
    public static final int SIGNALS = 2;

    /** The one behind these: that a rank is done with the others' pieces. */
    private static final int DONE = SIGNALS;
    /** Bytes between two signals: no two share a cache line. */
    private static final long LINE = 128;
    private static final Duration PATIENCE = Duration.ofSeconds(2);
    /** Far beyond every count that is waited for, and not so far that it seems to be behind. */
    private static final int FAR = 1 << 30;

    private static final UUID PROCESS = UUID.randomUUID();
    private static final UUID HOST = host();

    private final Stream stream;
    /** For what must not wait behind the other one's work. */
    private final Stream aside;
    private final int rank;
    private final long bytes;
    /** By rank, the signals first; 0 until they are open. */
    private final long[] pieces;
    /** Which of them are of other processes. */
    private final boolean[] mapped;
    private volatile int told;

    private PeerMemory(Stream stream, Stream aside, int rank, int size, long own, long bytes) {
        super(stream.context());
        this.stream = stream;
        this.aside = aside;
        this.rank = rank;
        this.bytes = bytes;
        pieces = new long[size];
        pieces[rank] = own;
        mapped = new boolean[size];
    }

    /**
     * Takes this rank's piece, zeroed.
     *
     * @param stream of everything that is done with it; closed after this
     * @param bytes the same on all ranks
     * @throws CudaException if there is too little memory
     */
    public static PeerMemory of(Stream stream, int rank, int size, long bytes) {
        Stream aside = Stream.of(stream.context());
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_LONG);
            long all = signalBytes(size) + bytes;
            Driver.check("cuMemAlloc_v2", cuMemAlloc_v2(out, all), all);
            long own = out.get(C_LONG, 0);
            PeerMemory memory = new PeerMemory(stream, aside, rank, size, own, bytes);
            stream.fill(new DevicePtr(own, all), (byte) 0);
            stream.synchronize();
            return memory;
        }
    }

    /** Bytes before those asked for, which are so aligned. */
    private static long signalBytes(int size) {
        return Math.ceilDiv((SIGNALS + 1) * size * LINE, DeviceMemory.ALIGNMENT) * DeviceMemory.ALIGNMENT;
    }

    /** The machine, as long as it runs; another in each process where that cannot be known. */
    private static UUID host() {
        try {
            return UUID.fromString(Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip());
        } catch (IOException | IllegalArgumentException e) {
            return PROCESS;
        }
    }

    /** What another rank opens this rank's piece by. */
    public byte[] card() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handle = CUipcMemHandle.allocate(arena);
            Driver.check("cuIpcGetMemHandle", cuIpcGetMemHandle(handle, pieces[rank]));
            return ByteBuffer.allocate(CARD_BYTES).putLong(HOST.getMostSignificantBits())
                    .putLong(HOST.getLeastSignificantBits()).putLong(PROCESS.getMostSignificantBits())
                    .putLong(PROCESS.getLeastSignificantBits()).putLong(pieces[rank])
                    .putInt(stream.context().device().handle()).put(handle.toArray(C_CHAR)).array();
        }
    }

    /** Whether the ranks of two cards are on one host. */
    public static boolean areOnOneHost(byte[] card, byte[] other) {
        return Arrays.equals(card, 0, 2 * Long.BYTES, other, 0, 2 * Long.BYTES);
    }

    /**
     * Makes a rank's piece reachable.
     *
     * @param card of a rank on this host; what follows it does not matter
     * @throws CudaException if the driver does not let this GPU reach that one
     */
    public void open(int other, byte[] card) {
        ByteBuffer read = ByteBuffer.wrap(card).position(2 * Long.BYTES);
        boolean inThisProcess = new UUID(read.getLong(), read.getLong()).equals(PROCESS);
        long address = read.getLong();
        int device = read.getInt();
        try (Arena arena = Arena.ofConfined()) {
            if (inThisProcess) {
                enableAccess(arena, device);
                pieces[other] = address;
                return;
            }
            MemorySegment handle = CUipcMemHandle.allocate(arena);
            handle.copyFrom(MemorySegment.ofArray(card).asSlice(read.position(), handle.byteSize()));
            MemorySegment out = arena.allocate(C_LONG);
            Driver.check("cuIpcOpenMemHandle_v2", cuIpcOpenMemHandle_v2(out, handle,
                    CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS()), "rank " + other);
            pieces[other] = out.get(C_LONG, 0);
            mapped[other] = true;
        }
    }

    private static void enableAccess(Arena arena, int device) {
        MemorySegment context = arena.allocate(C_POINTER);
        Driver.check("cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain(context, device), device);
        try {
            int status = cuCtxEnablePeerAccess(context.get(C_POINTER, 0), 0);
            if (status != CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED()) {
                Driver.check("cuCtxEnablePeerAccess", status, device);
            }
        } finally {
            Driver.check("cuDevicePrimaryCtxRelease_v2", cuDevicePrimaryCtxRelease_v2(device));
        }
    }

    /** A rank's piece; another one's is open. */
    public DevicePtr of(int which) {
        checkOpen();
        if (pieces[which] == 0) {
            throw new IllegalStateException("the piece of rank " + which + " was not opened");
        }
        return new DevicePtr(pieces[which] + signalBytes(pieces.length), bytes);
    }

    private DevicePtr signal(int of, int signal, int from) {
        return new DevicePtr(pieces[of] + (signal * (long) pieces.length + from) * LINE, Integer.BYTES);
    }

    /**
     * Gives another rank a signal when all work enqueued on the stream is done.
     *
     * @param signal below {@link #SIGNALS}
     * @param count more than the last one
     */
    public void tell(int other, int signal, int count) {
        told = count;
        stream.write(signal(other, signal, rank), count);
    }

    /** Work enqueued later starts when another rank's signal has come to a count. */
    public void await(int other, int signal, int count) {
        stream.awaitAtLeast(signal(rank, signal, other), count);
    }

    /** Ends what the stream waits for, by whatever thread: another rank is gone. */
    public void endWaits() {
        checkOpen();
        stream.context().use();
        giveUp();
    }

    private void giveUp() {
        for (int signal = 0; signal < SIGNALS; signal++) {
            for (int other = 0; other < pieces.length; other++) {
                aside.write(signal(rank, signal, other), told + FAR);
            }
        }
        aside.synchronize();
    }

    @Override
    void release() {
        if (told != 0) {
            leave();
        }
        for (int other = 0; other < pieces.length; other++) {
            if (mapped[other]) {
                Driver.check("cuIpcCloseMemHandle", cuIpcCloseMemHandle(pieces[other]));
            }
        }
        Driver.check("cuMemFree_v2", cuMemFree_v2(pieces[rank]));
    }

    private void leave() {
        for (int other = 0; other < pieces.length; other++) {
            stream.write(signal(other, DONE, rank), 1);
        }
        try (Arena arena = Arena.ofConfined()) {
            long end = System.nanoTime() + PATIENCE.toNanos();
            MemorySegment came = arena.allocate(LINE * pieces.length);
            while (!(stream.isDone() && allDone(came))) {
                if (System.nanoTime() > end) {
                    giveUp();
                    return;
                }
                Thread.sleep(1);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private boolean allDone(MemorySegment came) {
        aside.download(new DevicePtr(signal(rank, DONE, 0).address(), came.byteSize()), came);
        for (int other = 0; other < pieces.length; other++) {
            if (came.get(C_INT, other * LINE) == 0) {
                return false;
            }
        }
        return true;
    }
}
