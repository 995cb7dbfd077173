package org.transnormer.launch;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * One of the processes of a job, as people look for it.
 *
 * @param rank its number
 * @param host name of its machine
 * @param pid its process
 */
record Peer(int rank, String host, long pid) {

    static Peer self(int rank) {
        return new Peer(rank, hostName(), ProcessHandle.current().pid());
    }

    /** The system's own name first: to ask the network may take seconds. */
    private static String hostName() {
        try {
            return Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
        } catch (IOException e) {
            try {
                return InetAddress.getLocalHost().getHostName();
            } catch (UnknownHostException unknown) {
                return "localhost";
            }
        }
    }

    void write(DataOutputStream to) throws IOException {
        to.writeInt(rank);
        Frame.writeText(to, host, Frame.NAME);
        to.writeLong(pid);
    }

    static Peer read(DataInputStream from) throws IOException {
        return new Peer(from.readInt(), Frame.readText(from, Frame.NAME), from.readLong());
    }

    @Override
    public String toString() {
        return "rank %d (pid %d on %s)".formatted(rank, pid, host);
    }
}
