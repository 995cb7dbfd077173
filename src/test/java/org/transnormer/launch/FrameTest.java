package org.transnormer.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;

class FrameTest {
    @Property(tries = 300)
    void anyBytesAreAMessageOrRefused(@ForAll byte[] bytes) {
        try {
            Frame frame = read(bytes);
            assertThat(bytes.length).isGreaterThanOrEqualTo(5 + frame.content().length);
        } catch (IOException e) {
            assertThat(e.getMessage() == null || !e.getMessage().contains("\n")).isTrue();
        }
    }

    @Property(tries = 100)
    void whatIsWrittenIsRead(@ForAll byte[] content) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        new Frame(Frame.Type.DATA, content).write(new DataOutputStream(bytes));
        Frame read = read(bytes.toByteArray());
        assertThat(read.type()).isEqualTo(Frame.Type.DATA);
        assertThat(read.content()).isEqualTo(content);
        assertThatThrownBy(() -> read(java.util.Arrays.copyOf(bytes.toByteArray(), bytes.size() - 1)))
                .isInstanceOf(EOFException.class);
    }

    /** Said by the length alone: the bytes that it promises are not waited for. */
    @Example
    void lengthsAreJudgedFirst() {
        for (Frame.Type type : Frame.Type.values()) {
            assertThatThrownBy(() -> read(header(type, Integer.MAX_VALUE))).hasMessageContaining("want at most");
            assertThatThrownBy(() -> read(header(type, -1))).hasMessageContaining("want at most");
        }
        assertThatThrownBy(() -> read(new byte[] {127, 0, 0, 0, 0})).hasMessageContaining("type 127");
    }

    @Example
    void whereOneTypeBelongsNoOtherIsRead() {
        assertThatThrownBy(() -> Frame.read(stream(header(Frame.Type.PARTS, 1 << 23)), Frame.Type.HELLO))
                .hasMessageContaining("where none such belongs");
    }

    private static byte[] header(Frame.Type type, int length) {
        return ByteBuffer.allocate(5).put((byte) type.ordinal()).putInt(length).array();
    }

    private static Frame read(byte[] bytes) throws IOException {
        return Frame.read(stream(bytes));
    }

    private static DataInputStream stream(byte[] bytes) {
        return new DataInputStream(new ByteArrayInputStream(bytes));
    }
}
