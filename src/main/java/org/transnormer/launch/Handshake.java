package org.transnormer.launch;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The first bytes between a rank that connects and rank 0: both show that they know the secret, before anything else is
 * read. The one who connects proves first, so that a stranger learns nothing from rank 0. SPEC section 7.4.
 *
 * <pre>
 * other → 0   "TNLRANK1", 32 random bytes
 * 0 → other   "TNLRANK1", 32 random bytes
 * other → 0   proof
 * 0 → other   1, proof;  or 0: refused
 * </pre>
 */
final class Handshake {
    static final byte[] MAGIC = "TNLRANK1".getBytes(StandardCharsets.US_ASCII);

    /** The other end does not know the secret. */
    static final class WrongSecretException extends IOException {
        private static final long serialVersionUID = 1L;

        WrongSecretException(String message) {
            super(message);
        }
    }

    /** The other end speaks of something else. */
    static final class StrangerException extends IOException {
        private static final long serialVersionUID = 1L;

        StrangerException() {
            super("it does not speak as a rank of this program");
        }
    }

    private final Socket socket;
    private final InputStream in;
    private final OutputStream out;
    private final Secret secret;
    private final long deadline;

    /** @param nanos that the whole may take, however slowly bytes come */
    Handshake(Socket socket, Secret secret, long nanos) throws IOException {
        this.socket = socket;
        this.secret = secret;
        in = socket.getInputStream();
        out = socket.getOutputStream();
        deadline = System.nanoTime() + nanos;
    }

    /** On rank 0. */
    void asHub() throws IOException {
        byte[] other = greeting();
        byte[] hub = Secret.nonce();
        out.write(greeting(hub));
        if (!secret.isProof(read(Secret.PROOF), Secret.Role.OTHER, hub, other)) {
            out.write(0);
            throw new WrongSecretException("it does not know the secret");
        }
        out.write(1);
        out.write(secret.proof(Secret.Role.HUB, hub, other));
    }

    /** On another rank. */
    void asOther() throws IOException {
        byte[] other = Secret.nonce();
        out.write(greeting(other));
        byte[] hub = greeting();
        out.write(secret.proof(Secret.Role.OTHER, hub, other));
        if (read(1)[0] != 1 || !secret.isProof(read(Secret.PROOF), Secret.Role.HUB, hub, other)) {
            throw new WrongSecretException("rank 0 has another secret");
        }
    }

    private static byte[] greeting(byte[] nonce) {
        byte[] greeting = Arrays.copyOf(MAGIC, MAGIC.length + nonce.length);
        System.arraycopy(nonce, 0, greeting, MAGIC.length, nonce.length);
        return greeting;
    }

    private byte[] greeting() throws IOException {
        if (!Arrays.equals(read(MAGIC.length), MAGIC)) {
            throw new StrangerException();
        }
        return read(Secret.NONCE);
    }

    private byte[] read(int count) throws IOException {
        byte[] bytes = new byte[count];
        for (int have = 0; have < count;) {
            long left = (deadline - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                throw new SocketTimeoutException("it did not say who it is in time");
            }
            socket.setSoTimeout((int) Math.min(left, Integer.MAX_VALUE));
            int n = in.read(bytes, have, count - have);
            if (n < 0) {
                throw new EOFException("it hung up");
            }
            have += n;
        }
        return bytes;
    }
}
