package org.transnormer.launch;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import org.transnormer.EnvironmentException;

/** How another rank comes to rank 0. SPEC section 7.4. */
final class Approach {
    private static final int CONNECT_MILLIS = 5_000;
    private static final long FIRST_PAUSE = 50;
    private static final long LONGEST_PAUSE = 1_000;

    private Approach() {
    }

    /**
     * Tries until rank 0 is there and has heard who this is.
     *
     * @param now is run before each try
     * @throws EnvironmentException if rank 0 cannot be reached in time, naming its address
     * @throws JobException if it has another secret, or is no rank at all
     */
    static Connection connect(Rank rank, Secret secret, String version, Timings timings, Runnable now)
            throws InterruptedException {
        long deadline = System.nanoTime() + timings.meeting().toNanos();
        long pause = FIRST_PAUSE;
        while (true) {
            now.run();
            Socket socket = new Socket();
            try {
                // Looked up each time: the name of a machine that is just starting may not be known yet.
                InetSocketAddress hub = new InetSocketAddress(rank.address(), rank.port());
                if (hub.isUnresolved()) {
                    throw new IOException("no such host");
                }
                socket.connect(hub, CONNECT_MILLIS);
                // A port from which nobody listens may be given to the very socket that tries to reach it.
                if (!socket.getLocalSocketAddress().equals(socket.getRemoteSocketAddress())) {
                    new Handshake(socket, secret, timings.handshake().toNanos()).asOther();
                    return introduced(socket, rank, version);
                }
                socket.close();
            } catch (Handshake.WrongSecretException | Handshake.StrangerException e) {
                close(socket);
                throw new JobException(JobException.CONFIGURATION, "rank %d cannot join at %s:%d: %s; %s".formatted(
                        rank.rank(), rank.address(), rank.port(), e.getMessage(),
                        e instanceof Handshake.StrangerException ? "choose another MASTER_PORT"
                                : "give every rank the same TNL_SECRET"));
            } catch (IOException e) {
                close(socket);
                if (System.nanoTime() > deadline) {
                    throw new EnvironmentException("rank %d could not reach rank 0 at %s:%d within %d s: %s".formatted(
                            rank.rank(), rank.address(), rank.port(), timings.meeting().toSeconds(), e.getMessage()),
                            "see whether rank 0 runs, and whether this machine may connect to that port", e);
                }
            }
            Thread.sleep(pause);
            pause = Math.min(2 * pause, LONGEST_PAUSE);
        }
    }

    private static Connection introduced(Socket socket, Rank rank, String version) throws IOException {
        Connection connection = new Connection(socket);
        connection.sendNow(Frame.of(Frame.Type.HELLO, to -> {
            Peer.self(rank.rank()).write(to);
            to.writeInt(rank.size());
            Frame.writeText(to, version, Frame.NAME);
        }));
        return connection;
    }

    private static void close(Socket socket) {
        try {
            socket.close();
        } catch (IOException e) {
            // It was of no use anyway.
        }
    }
}
