package org.transnormer.launch;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.transnormer.InputException;

/**
 * What the ranks of a job know and nobody else: each proves to the other that it does, and it is never sent. HMAC-SHA256
 * over both sides' random bytes and the role of the one who proves, so that no proof can be sent back or used again.
 */
final class Secret {
    static final String VARIABLE = "TNL_SECRET";
    /** Random bytes of each side. */
    static final int NONCE = 32;
    /** Bytes of a proof. */
    static final int PROOF = 32;
    private static final int SHORTEST = 16;
    private static final SecureRandom RANDOM = new SecureRandom();

    /** Who proves. */
    enum Role {
        HUB,
        OTHER
    }

    private final SecretKeySpec key;
    private final boolean given;

    private Secret(String text, boolean given) {
        key = new SecretKeySpec(text.getBytes(StandardCharsets.UTF_8), "HmacSHA256");
        this.given = given;
    }

    /**
     * The secret of the environment. Between processes of one machine, which the network cannot reach, none is needed.
     *
     * @throws InputException if it is missing or can be guessed
     */
    static Secret of(Map<String, String> environment, Rank rank) {
        String text = environment.getOrDefault(VARIABLE, "");
        if (!text.isEmpty() && text.length() < SHORTEST) {
            throw new InputException(VARIABLE, "has %d characters, and could be guessed".formatted(text.length()),
                    "give %d or more random ones, the same to every rank: openssl rand -hex 32".formatted(SHORTEST));
        }
        if (text.isEmpty() && !isThisMachine(rank.address())) {
            throw new InputException(VARIABLE, "is not set, and rank 0 is at %s, which others can reach too".formatted(
                    rank.address()), "give the same random text to every rank: openssl rand -hex 32");
        }
        return text.isEmpty() ? new Secret("no secret", false) : new Secret(text, true);
    }

    static String random() {
        return HexFormat.of().formatHex(nonce());
    }

    static byte[] nonce() {
        byte[] bytes = new byte[NONCE];
        RANDOM.nextBytes(bytes);
        return bytes;
    }

    /** A name that cannot be looked up now may be one that others can reach. */
    private static boolean isThisMachine(String address) {
        try {
            return InetAddress.getByName(address).isLoopbackAddress();
        } catch (UnknownHostException e) {
            return false;
        }
    }

    /** Whether there is one: without, rank 0 can be reached from its own machine only. */
    boolean isGiven() {
        return given;
    }

    /**
     * What only one who knows the secret can compute.
     *
     * @param hub random bytes of rank 0
     * @param other random bytes of the rank that connects
     */
    byte[] proof(Role role, byte[] hub, byte[] other) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(key);
            mac.update(("tnl " + role + " ").getBytes(StandardCharsets.US_ASCII));
            mac.update(hub);
            return mac.doFinal(other);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every Java has HMAC-SHA256", e);
        }
    }

    /** Compares in a time that does not depend on where the first difference is. */
    boolean isProof(byte[] got, Role role, byte[] hub, byte[] other) {
        return MessageDigest.isEqual(got, proof(role, hub, other));
    }

    @Override
    public String toString() {
        return "a secret";
    }
}
