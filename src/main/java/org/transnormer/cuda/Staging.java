package org.transnormer.cuda;

import java.lang.foreign.MemorySegment;

/**
 * Copies host memory of any size to the device and back through two pinned buffers: while the device copies one, the
 * host fills or empties the other.
 */
public final class Staging implements AutoCloseable {
    private final Stream stream;
    private final long chunk;
    private final PinnedBuffer[] buffers = new PinnedBuffer[2];
    private final Event[] done = new Event[2];
    private boolean closed;

    /** @param chunk bytes of one buffer */
    public Staging(Stream stream, long chunk) {
        if (chunk <= 0) {
            throw new IllegalArgumentException("chunk: got %d bytes, want at least 1".formatted(chunk));
        }
        this.stream = stream;
        this.chunk = chunk;
        for (int i = 0; i < 2; i++) {
            buffers[i] = PinnedBuffer.of(stream.context(), chunk);
            done[i] = Event.of(stream.context());
        }
    }

    /** Copies all of {@code from}; afterwards it may be overwritten, and the stream has the copies in order. */
    public void upload(MemorySegment from, DevicePtr to) {
        long n = from.byteSize();
        int turn = 0;
        for (long at = 0; at < n; at += chunk, turn ^= 1) {
            long count = Math.min(chunk, n - at);
            // An event that was never recorded has come to pass.
            done[turn].synchronize();
            MemorySegment pinned = buffers[turn].segment().asSlice(0, count);
            pinned.copyFrom(from.asSlice(at, count));
            stream.upload(pinned, to.slice(at, count));
            stream.record(done[turn]);
        }
    }

    /** Fills all of {@code to} and waits for it. */
    public void download(DevicePtr from, MemorySegment to) {
        long n = to.byteSize();
        long chunks = Math.ceilDiv(n, chunk);
        for (long i = 0; i <= chunks; i++) {
            if (i < chunks) {
                long count = Math.min(chunk, n - i * chunk);
                stream.download(from.slice(i * chunk, count), buffers[(int) (i & 1)].segment().asSlice(0, count));
                stream.record(done[(int) (i & 1)]);
            }
            if (i > 0) {
                int turn = (int) (i - 1 & 1);
                done[turn].synchronize();
                long at = (i - 1) * chunk;
                long count = Math.min(chunk, n - at);
                to.asSlice(at, count).copyFrom(buffers[turn].segment().asSlice(0, count));
            }
        }
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        for (int i = 1; i >= 0; i--) {
            done[i].synchronize();
            done[i].close();
            buffers[i].close();
        }
    }
}
