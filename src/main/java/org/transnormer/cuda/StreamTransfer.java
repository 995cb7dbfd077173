package org.transnormer.cuda;

import java.lang.foreign.MemorySegment;
import org.transnormer.tensor.Transfer;

/** Copies on a stream. What is large goes through pinned buffers, at the full rate of the link. */
final class StreamTransfer implements Transfer, AutoCloseable {
    /** Bytes from which a copy through pinned memory is worth its buffers. */
    private static final long LARGE = 1 << 20;
    private static final long CHUNK = 16 << 20;

    private final Stream stream;
    private Staging staging;

    StreamTransfer(Stream stream) {
        this.stream = stream;
    }

    @Override
    public void upload(MemorySegment from, long toAddress) {
        var to = new DevicePtr(toAddress, from.byteSize());
        if (from.byteSize() >= LARGE) {
            staging().upload(from, to);
        } else {
            // The driver has taken what pageable memory holds when it returns.
            stream.upload(from, to);
        }
    }

    @Override
    public void download(long fromAddress, MemorySegment to) {
        var from = new DevicePtr(fromAddress, to.byteSize());
        if (to.byteSize() >= LARGE) {
            staging().download(from, to);
        } else {
            stream.download(from, to);
            stream.synchronize();
        }
    }

    @Override
    public void copy(long fromAddress, long toAddress, long bytes) {
        stream.copy(new DevicePtr(fromAddress, bytes), new DevicePtr(toAddress, bytes));
    }

    @Override
    public void zero(long address, long bytes) {
        stream.fill(new DevicePtr(address, bytes), (byte) 0);
    }

    private Staging staging() {
        if (staging == null) {
            staging = new Staging(stream, CHUNK);
        }
        return staging;
    }

    @Override
    public void close() {
        if (staging != null) {
            staging.close();
            staging = null;
        }
    }
}
