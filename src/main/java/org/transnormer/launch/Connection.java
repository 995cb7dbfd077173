package org.transnormer.launch;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingDeque;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * Messages to and from one other rank. A thread of its own writes, so that nobody who sends waits for a rank that has
 * stopped reading; another reads.
 */
final class Connection {
    /** Gets each message as it comes. */
    @FunctionalInterface
    interface Receiver {
        /** @throws IOException if it makes no sense; the connection is given up */
        void accept(Frame frame) throws IOException;
    }

    private static final int BUFFER = 1 << 16;
    private final Socket socket;
    private final DataInputStream in;
    private final DataOutputStream out;
    private final LinkedBlockingDeque<Frame> outgoing = new LinkedBlockingDeque<>();
    private final CountDownLatch ended = new CountDownLatch(1);

    Connection(Socket socket) throws IOException {
        this.socket = socket;
        socket.setTcpNoDelay(true);
        socket.setKeepAlive(true);
        in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), BUFFER));
        out = new DataOutputStream(new BufferedOutputStream(socket.getOutputStream(), BUFFER));
    }

    /**
     * The next message; until {@link #start} is called, and not after a timeout.
     *
     * @param only type that may come; null: any
     */
    Frame read(int timeoutMillis, Frame.Type only) throws IOException {
        socket.setSoTimeout(timeoutMillis);
        return Frame.read(in, only);
    }

    /**
     * Starts both threads.
     *
     * @param name of the threads
     * @param received gets each message
     * @param lost gets why no more will come, once
     */
    void start(String name, Receiver received, Consumer<IOException> lost) {
        Thread.ofVirtual().name(name + " out").start(this::write);
        Thread.ofVirtual().name(name + " in").start(() -> {
            try {
                socket.setSoTimeout(0);
                while (true) {
                    received.accept(Frame.read(in));
                }
            } catch (IOException e) {
                ended.countDown();
                lost.accept(e);
            } catch (RuntimeException e) {
                ended.countDown();
                lost.accept(new IOException(e));
            }
        });
    }

    private void write() {
        try {
            while (true) {
                Frame frame = outgoing.take();
                frame.write(out);
                if (frame.type() == Frame.Type.END || frame.type() == Frame.Type.BYE) {
                    out.flush();
                    socket.shutdownOutput();
                    return;
                }
                if (outgoing.isEmpty()) {
                    out.flush();
                }
            }
        } catch (IOException e) {
            // The reader of this connection sees the same, and says it.
            outgoing.clear();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Writes a message; until {@link #start} is called. */
    void sendNow(Frame frame) throws IOException {
        frame.write(out);
        out.flush();
    }

    /** Whether the other end, which has nothing to say yet, has hung up; until {@link #start} is called. */
    boolean isGone() {
        try {
            socket.setSoTimeout(1);
            return in.read() < 0;
        } catch (SocketTimeoutException e) {
            return false;
        } catch (IOException e) {
            return true;
        }
    }

    void send(Frame frame) {
        outgoing.addLast(frame);
    }

    /** After which nothing is sent; what waits to be sent is dropped. */
    void sendEnd(Frame end) {
        outgoing.clear();
        outgoing.addFirst(end);
    }

    /** Whether what was sent before is on its way: a sign of life need not be added to it. */
    boolean isBusy() {
        return outgoing.size() > 8;
    }

    /** Waits until the other end has hung up. */
    boolean awaitEnd(long nanos) throws InterruptedException {
        return ended.await(nanos, TimeUnit.NANOSECONDS);
    }

    void close() {
        try {
            socket.close();
        } catch (IOException e) {
            // It is of no use any more.
        }
    }
}
