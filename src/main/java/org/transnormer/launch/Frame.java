package org.transnormer.launch;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/**
 * A message between ranks: one byte that says what it is, four with the length of its content, the content. SPEC section
 * 7.4.
 */
record Frame(Type type, byte[] content) {

    /** What a message is; the number on the wire is the place in this list. */
    enum Type {
        /** To rank 0: who I am. */
        HELLO(1 << 16),
        /** From rank 0: all are here, and who they are. */
        WELCOME(MOST_RANKS * 300),
        /** I live, and am in this phase. */
        BEAT(64),
        /** To rank 0: my part of what all are to have. */
        PART(1 << 18),
        /** From rank 0: the parts of all. */
        PARTS(1 << 24),
        /** From rank 0: steps up to this one may be begun. */
        GO(8),
        /** From rank 0: the step after which all stop. */
        STOP(8),
        /** To rank 0: let all stop soon. */
        ASK_STOP(0),
        /** To rank 0: I have failed. */
        FAIL(1 << 14),
        /** From rank 0: the job is over. */
        END(4),
        /** Bytes for one rank, by way of rank 0. */
        DATA(1 << 20),
        /** I am done, as all are. */
        BYE(0);

        private final int limit;

        Type(int limit) {
            this.limit = limit;
        }
    }

    /** Writes the content of a message. */
    @FunctionalInterface
    interface Content {
        void write(DataOutputStream to) throws IOException;
    }

    /** Longest text of a name: a host, what ranks exchange. */
    static final int NAME = 255;
    /** Most ranks of a job. */
    static final int MOST_RANKS = 1 << 14;

    Frame {
        if (content.length > type.limit) {
            throw new IllegalArgumentException("%s of %,d bytes, want at most %,d".formatted(type, content.length,
                    type.limit));
        }
    }

    static Frame of(Type type) {
        return new Frame(type, new byte[0]);
    }

    static Frame of(Type type, Content content) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try {
            content.write(new DataOutputStream(bytes));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return new Frame(type, bytes.toByteArray());
    }

    void write(DataOutputStream to) throws IOException {
        to.writeByte(type.ordinal());
        to.writeInt(content.length);
        to.write(content);
    }

    /**
     * Reads the next message. Its length is judged before memory is taken.
     *
     * @throws EOFException if the other end has closed
     * @throws IOException if what comes is no message
     */
    static Frame read(DataInputStream from) throws IOException {
        return read(from, null);
    }

    /** @param only type that may come; null: any */
    static Frame read(DataInputStream from, Type only) throws IOException {
        int number = from.readUnsignedByte();
        if (number >= Type.values().length || only != null && number != only.ordinal()) {
            throw new IOException("message of type " + number + " where none such belongs");
        }
        Type type = Type.values()[number];
        int length = from.readInt();
        if (length < 0 || length > type.limit) {
            throw new IOException("%s of %,d bytes, want at most %,d".formatted(type, length, type.limit));
        }
        byte[] content = from.readNBytes(length);
        if (content.length < length) {
            throw new EOFException();
        }
        return new Frame(type, content);
    }

    /** Bytes after their number. */
    static void writeBytes(DataOutputStream to, byte[] bytes) throws IOException {
        to.writeInt(bytes.length);
        to.write(bytes);
    }

    /** @param most bytes that make sense here */
    static byte[] readBytes(DataInputStream from, int most) throws IOException {
        int length = from.readInt();
        if (length < 0 || length > most) {
            throw new IOException("%,d bytes, want at most %,d".formatted(length, most));
        }
        byte[] bytes = from.readNBytes(length);
        if (bytes.length < length) {
            throw new EOFException();
        }
        return bytes;
    }

    static void writeText(DataOutputStream to, String text, int most) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        writeBytes(to, bytes.length <= most ? bytes : java.util.Arrays.copyOf(bytes, most));
    }

    /** Text of another process, to be shown: without control characters. */
    static String readText(DataInputStream from, int most) throws IOException {
        return new String(readBytes(from, most), StandardCharsets.UTF_8).replaceAll("[\\p{Cntrl}&&[^\\n\\t]]", "?");
    }
}
