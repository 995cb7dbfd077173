package org.transnormer.launch;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.transnormer.EnvironmentException;

/** Where rank 0 waits until all others have come. SPEC section 7.4. */
final class Reception implements AutoCloseable {
    /** Who have connected and not said yet who they are; more are sent away, and ranks come again. */
    private static final int STRANGERS = 64;

    /** A rank that knows the secret. */
    private record Guest(Peer peer, int size, String version, Connection connection) {
    }

    private final Rank rank;
    private final Secret secret;
    private final String version;
    private final Timings timings;
    private final ServerSocket server;
    private final Semaphore strangers = new Semaphore(STRANGERS);
    private final BlockingQueue<Guest> guests = new LinkedBlockingQueue<>();
    private volatile String refused = "";

    /**
     * Listens at rank 0's address.
     *
     * @throws EnvironmentException if the port is taken
     */
    Reception(Rank rank, Secret secret, String version, Timings timings) {
        this.rank = rank;
        this.secret = secret;
        this.version = version;
        this.timings = timings;
        try {
            server = new ServerSocket();
            server.setReuseAddress(true);
            server.bind(new InetSocketAddress(door(), rank.port()), rank.size() + STRANGERS);
        } catch (IOException e) {
            throw new EnvironmentException("rank 0 cannot listen at %s:%d: %s".formatted(rank.address(), rank.port(),
                    e.getMessage()), "choose another MASTER_PORT, or end what has it", e);
        }
        Thread.ofVirtual().name("tnl-door").start(this::accept);
    }

    /**
     * Without a secret, and where the address is said to be this machine's own, others cannot connect. A name is not
     * taken as that: to rank 0 itself its name often means its own machine only.
     */
    private InetAddress door() throws IOException {
        boolean inside = !secret.isGiven() || rank.address().startsWith("127.") || rank.address().equals("::1");
        return inside ? InetAddress.getByName(rank.address()) : new InetSocketAddress(0).getAddress();
    }

    private void accept() {
        while (true) {
            try {
                Socket socket = server.accept();
                if (!strangers.tryAcquire()) {
                    socket.close();
                    continue;
                }
                Thread.ofVirtual().name("tnl-stranger").start(() -> {
                    try {
                        welcome(socket);
                    } finally {
                        strangers.release();
                    }
                });
            } catch (IOException e) {
                if (server.isClosed()) {
                    return;
                }
            }
        }
    }

    private void welcome(Socket socket) {
        try {
            new Handshake(socket, secret, timings.handshake().toNanos()).asHub();
            Connection connection = new Connection(socket);
            Frame hello = connection.read((int) timings.handshake().toMillis(), Frame.Type.HELLO);
            DataInputStream in = new DataInputStream(new ByteArrayInputStream(hello.content()));
            guests.add(new Guest(Peer.read(in), in.readInt(), Frame.readText(in, Frame.NAME), connection));
        } catch (IOException | RuntimeException e) {
            refused = "; the last connection refused was %s's: %s".formatted(
                    socket.getInetAddress().getHostAddress(), e.getMessage());
            try {
                socket.close();
            } catch (IOException closing) {
                // It is gone already.
            }
        }
    }

    /**
     * Returns when all have come.
     *
     * @param now and then is run while waiting
     * @return the others by rank; index 0 is rank 0's, which has no connection
     * @throws JobException naming who is missing, or does not belong here; all that have come are told to end
     */
    List<Arrived> await(Runnable now) throws InterruptedException {
        long deadline = System.nanoTime() + timings.meeting().toNanos();
        Map<Integer, Guest> here = new TreeMap<>();
        while (!areHere(here)) {
            now.run();
            long left = deadline - System.nanoTime();
            Guest guest = guests.poll(Math.clamp(left, 0, 200_000_000), TimeUnit.NANOSECONDS);
            if (guest != null) {
                String wrong = wrong(guest, here.get(guest.peer.rank()));
                if (wrong != null) {
                    here.put(-1 - here.size(), guest);
                    throw sendAway(here, JobException.CONFIGURATION, wrong);
                }
                here.put(guest.peer.rank(), guest);
            } else if (left <= 0) {
                throw sendAway(here, JobException.MACHINE, "%s did not come to %s:%d within %d s; %s%s".formatted(
                        missing(here), rank.address(), rank.port(), timings.meeting().toSeconds(),
                        rank.starter().cure(), refused));
            }
        }
        List<Arrived> all = new ArrayList<>();
        all.add(new Arrived(Peer.self(0), null));
        here.values().forEach(guest -> all.add(new Arrived(guest.peer, guest.connection)));
        return all;
    }

    /** Whether all others have come, and none has hung up since. */
    private boolean areHere(Map<Integer, Guest> here) {
        return here.size() == rank.size() - 1 && !here.values().removeIf(guest -> guest.connection.isGone());
    }

    /** One rank that has come, and the way to it. */
    record Arrived(Peer peer, Connection connection) {
    }

    private String wrong(Guest guest, Guest same) {
        if (guest.size != rank.size()) {
            return "%s says that there are %d ranks, rank 0 that there are %d; give all the same number".formatted(
                    guest.peer, guest.size, rank.size());
        }
        if (!guest.version.equals(version)) {
            return "%s is version %s, rank 0 is %s; start the same on all machines".formatted(guest.peer,
                    guest.version, version);
        }
        if (guest.peer.rank() < 1 || guest.peer.rank() >= rank.size()
                || same != null && !same.connection.isGone()) {
            return "%s says it is rank %d, and so does pid %d on %s; give each a rank of its own".formatted(guest.peer,
                    guest.peer.rank(), same == null ? ProcessHandle.current().pid() : same.peer.pid(),
                    same == null ? Peer.self(0).host() : same.peer.host());
        }
        return null;
    }

    private JobException sendAway(Map<Integer, Guest> here, int status, String message) throws InterruptedException {
        for (Guest guest : here.values()) {
            guest.connection.start("tnl-away", frame -> {}, lost -> {});
            guest.connection.sendEnd(Frame.of(Frame.Type.END, to -> to.writeInt(status)));
        }
        for (Guest guest : here.values()) {
            guest.connection.awaitEnd(1_000_000_000L);
        }
        return new JobException(status, message);
    }

    private String missing(Map<Integer, Guest> here) {
        List<String> missing = new ArrayList<>();
        for (int r = 1; r < rank.size(); r++) {
            if (!here.containsKey(r)) {
                missing.add(Integer.toString(r));
            }
        }
        String shown = String.join(", ", missing.subList(0, Math.min(20, missing.size())))
                + (missing.size() > 20 ? ", ..." : "");
        return "rank%s %s of %d".formatted(missing.size() == 1 ? "" : "s", shown, rank.size());
    }

    @Override
    public void close() {
        try {
            server.close();
        } catch (IOException e) {
            // Nobody will connect any more.
        }
    }
}
