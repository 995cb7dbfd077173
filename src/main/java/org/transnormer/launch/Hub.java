package org.transnormer.launch;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** Rank 0: has all connections, passes on what ranks give each other, and judges. */
final class Hub extends RankedJob {
    private static final int SHOWN = 120;
    /** By rank; none of rank 0. */
    private final List<Connection> connections;
    private final List<BlockingQueue<Part>> parts;
    private final Watch watch;
    /** The last step that may be begun, and the last one at all. */
    private long allowed = Long.MIN_VALUE;
    private long last = Long.MAX_VALUE;
    private volatile boolean stopAsked;
    private long stepBegan;

    private Hub(Rank rank, List<Reception.Arrived> all, Timings timings, Launcher launcher) {
        super(rank, all.stream().map(Reception.Arrived::peer).toList(), timings, launcher);
        connections = new ArrayList<>(all.stream().map(Reception.Arrived::connection).toList());
        parts = all.stream().<BlockingQueue<Part>>map(_ -> new LinkedBlockingQueue<>()).toList();
        watch = new Watch(rank.size(), timings);
    }

    static Hub receive(Rank rank, Secret secret, String version, Timings timings, Launcher launcher)
            throws InterruptedException {
        List<Reception.Arrived> all;
        try (Reception reception = new Reception(rank, secret, version, timings)) {
            all = reception.await(() -> {
                if (launcher.isGone()) {
                    Ending.halt(JobException.MACHINE, null);
                }
            });
        }
        Hub hub = new Hub(rank, all, timings, launcher);
        Frame welcome = Frame.of(Frame.Type.WELCOME, to -> {
            for (Peer peer : hub.peers) {
                peer.write(to);
            }
        });
        for (int r = 1; r < hub.size(); r++) {
            int from = r;
            Connection connection = hub.connections.get(r);
            connection.send(welcome);
            connection.start("tnl-rank-" + r, frame -> hub.received(from, frame), e -> hub.lost(from, e));
        }
        return hub;
    }

    private void received(int from, Frame frame) throws IOException {
        watch.heard(from);
        switch (frame.type()) {
            case BEAT -> watch.heard(from, Moment.read(content(frame)));
            case PART -> parts.get(from).add(Part.read(frame));
            case DATA -> passOn(from, frame);
            case ASK_STOP -> stopAsked = true;
            case FAIL -> {
                var in = content(frame);
                int status = in.readInt();
                boolean silent = in.readBoolean();
                String message = silent ? null : Frame.readText(in, frame.content().length);
                // Not by the thread that is to see the rank hang up.
                Thread.startVirtualThread(() -> end(from, status, message));
            }
            case BYE -> watch.left(from);
            default -> throw new IOException("it says " + frame.type());
        }
    }

    private void passOn(int from, Frame frame) throws IOException {
        var in = content(frame);
        int to = in.readInt();
        byte[] bytes = in.readAllBytes();
        if (to == 0) {
            received(from, bytes);
        } else if (to > 0 && to < size() && to != from) {
            connections.get(to).send(data(from, bytes));
        } else {
            throw new IOException("bytes for rank " + to);
        }
    }

    static Frame data(int rank, byte[] bytes) {
        return Frame.of(Frame.Type.DATA, out -> {
            out.writeInt(rank);
            out.write(bytes);
        });
    }

    private void lost(int from, IOException e) {
        if (!watch.hasLeft(from)) {
            end(from, JobException.MACHINE, gone(e));
        }
    }

    @Override
    void pass(long nanos) {
        watch.heard(0, moment());
        Watch.Verdict verdict = watch.pass(nanos);
        if (verdict != null) {
            end(verdict.rank(), JobException.MACHINE, verdict.reason());
        }
        Frame beat = Frame.of(Frame.Type.BEAT, moment()::write);
        for (Connection connection : connections.subList(1, size())) {
            if (!connection.isBusy()) {
                connection.send(beat);
            }
        }
    }

    @Override
    public void phase(Phase phase) {
        stepEnded();
        super.phase(phase);
    }

    @Override
    public void step(long step) {
        stepEnded();
        super.step(step);
        stepBegan = System.nanoTime();
    }

    private void stepEnded() {
        if (moment().phase() == Phase.STEP) {
            watch.step(System.nanoTime() - stepBegan);
        }
    }

    /** When a step is begun the next is allowed already, so that no rank waits for the answer; nor can one run ahead. */
    @Override
    synchronized boolean allows(long step) {
        if (last == Long.MAX_VALUE) {
            if (stopAsked) {
                last = Math.max(allowed, step - 1);
                tellAll(Frame.of(Frame.Type.STOP, to -> to.writeLong(last)));
            } else {
                allowed = step + 1;
                tellAll(Frame.of(Frame.Type.GO, to -> to.writeLong(allowed)));
            }
        }
        return step <= last;
    }

    private void tellAll(Frame frame) {
        connections.subList(1, size()).forEach(connection -> connection.send(frame));
    }

    @Override
    public void requestStop() {
        stopAsked = true;
    }

    @Override
    public void send(int to, byte[] bytes) {
        if (to < 1 || to >= size()) {
            throw new IllegalArgumentException("rank 0 cannot send to rank %d of %d".formatted(to, size()));
        }
        connections.get(to).send(data(0, bytes));
    }

    @Override
    List<byte[]> exchange(String what, byte[] mine) {
        List<byte[]> all = collect(what, mine);
        spread(all);
        return all;
    }

    private List<byte[]> collect(String what, byte[] mine) {
        List<byte[]> all = new ArrayList<>();
        all.add(mine);
        for (int r = 1; r < size(); r++) {
            Part part = take(parts.get(r));
            if (!part.what().equals(what)) {
                end(r, JobException.CONFIGURATION,
                        "it is at '%s' while rank 0 is at '%s'".formatted(part.what(), what));
            }
            all.add(part.bytes());
        }
        return all;
    }

    private void spread(List<byte[]> all) {
        tellAll(Frame.of(Frame.Type.PARTS, to -> {
            for (byte[] bytes : all) {
                Frame.writeBytes(to, bytes);
            }
        }));
    }

    @Override
    public void agree(List<String> configuration) {
        List<byte[]> all = collect("the configuration", lines(configuration));
        for (int r = 1; r < size(); r++) {
            List<String> theirs = new String(all.get(r), StandardCharsets.UTF_8).lines().toList();
            for (int i = 0; i < Math.max(theirs.size(), configuration.size()); i++) {
                String line = i < theirs.size() ? theirs.get(i) : "";
                String own = i < configuration.size() ? configuration.get(i) : "";
                if (!line.equals(own)) {
                    end(r, JobException.CONFIGURATION,
                            "its configuration has '%s' where rank 0 has '%s'; start every rank with the same command"
                                    .formatted(
                                            shown(line), shown(own)));
                }
            }
        }
        spread(Collections.nCopies(size(), new byte[0]));
    }

    private static String shown(String line) {
        String plain = line.strip().replaceAll("\\p{Cntrl}", "?");
        return plain.length() > SHOWN ? plain.substring(0, SHOWN) + "..." : plain;
    }

    @Override
    void leave(int status, String message) {
        end(0, status, message);
    }

    /** @param message why, after the rank's name; null: nobody needs to be told */
    private void end(int culprit, int status, String message) {
        if (!begunToEnd()) {
            awaitHalt();
            return;
        }
        Frame end = Frame.of(Frame.Type.END, to -> to.writeInt(status));
        connections.subList(1, size()).forEach(connection -> connection.sendEnd(end));
        long deadline = System.nanoTime() + FAREWELL_NANOS;
        for (Connection connection : connections.subList(1, size())) {
            awaitEnd(connection, Math.max(0, deadline - System.nanoTime()));
        }
        Ending.halt(status, message == null ? null : peers.get(culprit) + ": " + message);
    }

    @Override
    void farewell() {
        connections.subList(1, size()).forEach(connection -> connection.send(Frame.of(Frame.Type.BYE)));
        long deadline = System.nanoTime() + FAREWELL_NANOS;
        for (Connection connection : connections.subList(1, size())) {
            awaitEnd(connection, Math.max(0, deadline - System.nanoTime()));
            connection.close();
        }
    }
}
