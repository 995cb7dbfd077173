package org.transnormer.launch;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/** One of several processes. Rank 0 has a connection to each other rank, and the others have only that. */
abstract sealed class RankedJob implements Job permits Hub, Spoke {
    /** How a process ends that is told to, as after SIGTERM. */
    static final int TERMINATED = 143;
    /** For how long those that are told to end are waited for. */
    static final long FAREWELL_NANOS = 1_000_000_000L;
    private static final int CAUSE_MILLIS = 300;
    private static final int LONGEST_MESSAGE = 8_000;

    final Rank rank;
    final List<Peer> peers;
    final Timings timings;
    private final Launcher launcher;
    private final AtomicLong collectives = new AtomicLong();
    /** Whether this process is ending, or has left the job. */
    private final AtomicBoolean over = new AtomicBoolean();
    private final List<BlockingQueue<byte[]>> inboxes;
    private final Thread onExit = new Thread(this::exit, "tnl-leave");
    private volatile Moment moment = Moment.BEGINNING;
    private volatile boolean stoppable;

    RankedJob(Rank rank, List<Peer> peers, Timings timings, Launcher launcher) {
        this.rank = rank;
        this.peers = List.copyOf(peers);
        this.timings = timings;
        this.launcher = launcher;
        inboxes = peers.stream().<BlockingQueue<byte[]>>map(_ -> new LinkedBlockingQueue<>()).toList();
    }

    static RankedJob join(Rank rank, Map<String, String> environment, String version, Timings timings) {
        if (rank.size() > Frame.MOST_RANKS) {
            throw new IllegalArgumentException("%,d ranks, and at most %,d can meet".formatted(rank.size(),
                    Frame.MOST_RANKS));
        }
        Secret secret = Secret.of(environment, rank);
        Launcher launcher = Launcher.of(environment);
        try {
            RankedJob job = rank.rank() == 0 ? Hub.receive(rank, secret, version, timings, launcher)
                    : Spoke.approach(rank, secret, version, timings, launcher);
            Runtime.getRuntime().addShutdownHook(job.onExit);
            Thread.ofPlatform().daemon().name("tnl-beat").start(job::beat);
            return job;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while waiting for the other ranks", e);
        }
    }

    @Override
    public final int size() {
        return rank.size();
    }

    @Override
    public final int rank() {
        return rank.rank();
    }

    Peer self() {
        return peers.get(rank());
    }

    /** Every beat: a sign of life to others, and a look at theirs. Time in which this process was stopped is not counted. */
    private void beat() {
        long beat = timings.beat().toNanos();
        long last = System.nanoTime();
        try {
            while (!over.get()) {
                Thread.sleep(timings.beat());
                long now = System.nanoTime();
                if (launcher.isGone()) {
                    leave(JobException.MACHINE, "what started it is gone" + Watch.CONSEQUENCE);
                }
                pass(Math.min(now - last, 2 * beat));
                last = now;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Says that this rank lives, and judges who does not. */
    abstract void pass(long nanos);

    Moment moment() {
        Moment m = moment;
        return new Moment(m.phases(), m.phase(), m.step(), collectives.get());
    }

    @Override
    public void phase(Phase phase) {
        if (phase.limit() == null) {
            throw new IllegalArgumentException("a step has a number");
        }
        moment = new Moment(moment.phases() + 1, phase, 0, 0);
    }

    @Override
    public void step(long step) {
        moment = new Moment(moment.phases() + 1, Phase.STEP, step, 0);
    }

    @Override
    public final void collective() {
        collectives.incrementAndGet();
    }

    @Override
    public final boolean mayStep(long step) {
        stoppable = true;
        return allows(step);
    }

    abstract boolean allows(long step);

    @Override
    public final byte[] receive(int from) {
        if (from == rank() || from < 0 || from >= size()) {
            throw new IllegalArgumentException("rank %d cannot receive from rank %d of %d".formatted(rank(), from,
                    size()));
        }
        return take(inboxes.get(from));
    }

    final void received(int from, byte[] bytes) throws IOException {
        if (from < 0 || from >= size() || from == rank()) {
            throw new IOException("bytes from rank " + from);
        }
        inboxes.get(from).add(bytes);
    }

    /** The job ends meanwhile if what is waited for cannot come any more. */
    static <T> T take(BlockingQueue<T> queue) {
        try {
            return queue.take();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while waiting for another rank", e);
        }
    }

    /** Why a connection ended that should not. */
    static String gone(IOException e) {
        boolean ended = e instanceof EOFException || e instanceof SocketException;
        return (ended ? "it is gone" : "it sends what makes no sense: " + e.getMessage()) + Watch.CONSEQUENCE;
    }

    static Frame part(String what, byte[] bytes) {
        return Frame.of(Frame.Type.PART, to -> {
            Frame.writeText(to, what, Frame.NAME);
            Frame.writeBytes(to, bytes);
        });
    }

    /**
     * A rank's part of a gather.
     *
     * @param what it is
     */
    record Part(String what, byte[] bytes) {
        static Part read(Frame frame) throws IOException {
            DataInputStream in = content(frame);
            return new Part(Frame.readText(in, Frame.NAME), Frame.readBytes(in, frame.content().length));
        }
    }

    static DataInputStream content(Frame frame) {
        return new DataInputStream(new ByteArrayInputStream(frame.content()));
    }

    static byte[] lines(List<String> configuration) {
        return String.join("\n", configuration).getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public final List<byte[]> gather(String what, byte[] mine) {
        if (mine.length > MOST_BYTES) {
            throw new IllegalArgumentException("%s: %,d bytes, want at most %,d".formatted(what, mine.length,
                    MOST_BYTES));
        }
        return exchange(what, mine);
    }

    abstract List<byte[]> exchange(String what, byte[] mine);

    /** A collective that fails because another rank is gone is not to blame: that one is, as is seen within moments. */
    @Override
    public final void fail(int status, String message) {
        try {
            Thread.sleep(CAUSE_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        leave(status, message.length() > LONGEST_MESSAGE ? message.substring(0, LONGEST_MESSAGE) + "..." : message);
    }

    @Override
    public final void quit(int status) {
        leave(status, null);
    }

    /**
     * Ends this process and the job.
     *
     * @param message why, after this rank's name; null: nobody needs to be told
     */
    abstract void leave(int status, String message);

    /** Whether nobody has done this before: what ends the process is done once. */
    final boolean begunToEnd() {
        return over.compareAndSet(false, true);
    }

    final boolean isOver() {
        return over.get();
    }

    /** Waits for the end of the process, which another thread has begun. */
    static void awaitHalt() {
        try {
            Thread.sleep(Long.MAX_VALUE);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Waits until the other end hangs up, but no longer than this. */
    static void awaitEnd(Connection connection, long nanos) {
        try {
            connection.awaitEnd(nanos);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** This process is told to end, and has nothing to finish first. */
    private void exit() {
        if (!stoppable && !isOver()) {
            leave(TERMINATED, null);
        }
    }

    @Override
    public final void close() {
        if (isOver()) {
            return;
        }
        phase(Phase.ENDING);
        exchange("the end", new byte[0]);
        if (begunToEnd()) {
            try {
                Runtime.getRuntime().removeShutdownHook(onExit);
            } catch (IllegalStateException e) {
                // The process is ending; the hook finds nothing to do.
            }
            farewell();
        } else {
            awaitHalt();
        }
    }

    /** Hangs up, when all know that the job is done. */
    abstract void farewell();

    /**
     * The process that started this one, if it is to end with it.
     *
     * @param pid 0 for none
     */
    record Launcher(long pid) {
        static final String VARIABLE = "TNL_LAUNCHER";

        static Launcher of(Map<String, String> environment) {
            String text = environment.getOrDefault(VARIABLE, "");
            return new Launcher(text.matches("\\d{1,18}") ? Long.parseLong(text) : 0);
        }

        boolean isGone() {
            return pid != 0 && ProcessHandle.current().parent().map(parent -> parent.pid() != pid).orElse(true);
        }
    }
}
