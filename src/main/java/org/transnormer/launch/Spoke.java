package org.transnormer.launch;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;

/** Any rank but 0. */
final class Spoke extends RankedJob {
    private static final long ANSWER_NANOS = 5_000_000_000L;
    private final Connection connection;
    private final BlockingQueue<List<byte[]>> gathered = new LinkedBlockingQueue<>();
    private final AtomicLong silent = new AtomicLong();
    private volatile boolean done;
    private long allowed = Long.MIN_VALUE;
    private long last = Long.MAX_VALUE;

    private Spoke(Rank rank, List<Peer> peers, Timings timings, Launcher launcher, Connection connection) {
        super(rank, peers, timings, launcher);
        this.connection = connection;
    }

    static Spoke approach(Rank rank, Secret secret, String version, Timings timings, Launcher launcher)
            throws InterruptedException {
        Connection connection = Approach.connect(rank, secret, version, timings, () -> {
            if (launcher.isGone()) {
                Ending.halt(JobException.MACHINE, null);
            }
        });
        Spoke spoke = new Spoke(rank, await(connection, rank, timings, launcher), timings, launcher, connection);
        connection.start("tnl-rank-0", spoke::received, spoke::lost);
        return spoke;
    }

    /** Rank 0 answers when all have come; if they do not, it says so and this process ends. */
    private static List<Peer> await(Connection connection, Rank rank, Timings timings, Launcher launcher) {
        try {
            Frame frame = connection.read((int) timings.meeting().plus(timings.silence()).toMillis(), null);
            DataInputStream in = content(frame);
            if (frame.type() == Frame.Type.END) {
                Ending.halt(in.readInt(), null);
            }
            List<Peer> peers = new ArrayList<>();
            for (int r = 0; r < rank.size(); r++) {
                peers.add(Peer.read(in));
            }
            return peers;
        } catch (IOException e) {
            throw new JobException(JobException.MACHINE,
                    "rank %d lost rank 0 at %s:%d before all had come: %s".formatted(
                            rank.rank(), rank.address(), rank.port(), reason(e)));
        }
    }

    private static String reason(IOException e) {
        return e instanceof EOFException ? "it hung up" : e.getMessage();
    }

    private void received(Frame frame) throws IOException {
        silent.set(0);
        switch (frame.type()) {
            case BEAT -> {}
            case PARTS -> {
                DataInputStream in = content(frame);
                List<byte[]> all = new ArrayList<>();
                for (int r = 0; r < size(); r++) {
                    all.add(Frame.readBytes(in, MOST_BYTES));
                }
                gathered.add(all);
            }
            case DATA -> {
                DataInputStream in = content(frame);
                received(in.readInt(), in.readAllBytes());
            }
            case GO -> go(content(frame).readLong());
            case STOP -> stop(content(frame).readLong());
            case END -> Ending.halt(content(frame).readInt(), null);
            case BYE -> done = true;
            default -> throw new IOException("it says " + frame.type());
        }
    }

    private synchronized void go(long step) {
        allowed = step;
        notifyAll();
    }

    private synchronized void stop(long step) {
        last = step;
        notifyAll();
    }

    @Override
    synchronized boolean allows(long step) {
        try {
            while (allowed < step && last >= step) {
                if (last != Long.MAX_VALUE) {
                    return true;
                }
                wait();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while waiting for rank 0", e);
        }
        return step <= last;
    }

    private void lost(IOException e) {
        if (!done) {
            lost(gone(e));
        }
    }

    /** One of those that are left says it: the first. */
    private void lost(String why) {
        if (begunToEnd()) {
            Ending.halt(JobException.MACHINE, rank() == 1 ? peers.getFirst() + ": " + why : null);
        }
    }

    @Override
    void pass(long nanos) {
        if (silent.addAndGet(nanos) > timings.silence().toNanos()) {
            lost(Watch.silent(timings));
        }
        if (!connection.isBusy()) {
            connection.send(Frame.of(Frame.Type.BEAT, moment()::write));
        }
    }

    @Override
    public void requestStop() {
        connection.send(Frame.of(Frame.Type.ASK_STOP));
    }

    @Override
    public void send(int to, byte[] bytes) {
        if (to < 0 || to >= size() || to == rank()) {
            throw new IllegalArgumentException("rank %d cannot send to rank %d of %d".formatted(rank(), to, size()));
        }
        connection.send(Hub.data(to, bytes));
    }

    @Override
    List<byte[]> exchange(String what, byte[] mine) {
        connection.send(part(what, mine));
        return take(gathered);
    }

    @Override
    public void agree(List<String> configuration) {
        exchange("the configuration", lines(configuration));
    }

    /** Rank 0 says the line and tells all to end, this one included. */
    @Override
    void leave(int status, String message) {
        if (!begunToEnd()) {
            awaitHalt();
            return;
        }
        connection.send(Frame.of(Frame.Type.FAIL, to -> {
            to.writeInt(status);
            to.writeBoolean(message == null);
            Frame.writeText(to, message == null ? "" : message, 1 << 13);
        }));
        awaitEnd(connection, ANSWER_NANOS);
        Ending.halt(status, message == null ? null : self() + ": " + message);
    }

    @Override
    void farewell() {
        connection.send(Frame.of(Frame.Type.BYE));
        awaitEnd(connection, FAREWELL_NANOS);
        connection.close();
    }
}
