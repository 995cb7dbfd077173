package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.stream.Stream;
import org.eclipse.collections.api.factory.primitive.LongLists;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.transnormer.InputException;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

class SafetensorsTest {
    /** Two tensors: a (2, 3) F32, b (2) BF16; 28 bytes of data. */
    static final String GOOD = """
            {"__metadata__":{"format":"pt","µ":"\\n"},\
            "b":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},\
            "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}""";

    @TempDir
    Path folder;

    static byte[] bytes(String header, int dataBytes) {
        return bytes(header.getBytes(StandardCharsets.UTF_8), new byte[dataBytes]);
    }

    static byte[] bytes(byte[] header, byte[] data) {
        return ByteBuffer.allocate(Long.BYTES + header.length + data.length).order(ByteOrder.LITTLE_ENDIAN)
                .putLong(header.length).put(header).put(data).array();
    }

    static String one(String dtype, String shape, String offsets) {
        return "{\"x\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":%s}}".formatted(dtype, shape, offsets);
    }

    private Path file(byte[] bytes) throws IOException {
        return Files.write(folder.resolve("x.safetensors"), bytes);
    }

    @Test
    void headerSaysWhatTheFileHolds() throws IOException {
        try (Safetensors file = Safetensors.open(file(bytes(GOOD + "    ", 28)))) {
            assertThat(file.names()).containsExactly("a", "b");
            assertThat(file.entry("b"))
                    .isEqualTo(new Safetensors.Entry("b", FileDType.BF16, LongLists.immutable.of(2), 24, 28));
            assertThat(file.entry("a").size()).isEqualTo(6);
            assertThat(file.metadata().get("format")).isEqualTo("pt");
            assertThat(file.metadata().get("µ")).isEqualTo("\n");
        }
    }

    /** Three numbers in every type that is read, written by hand: 1, -2 or what has the sign bit set if unsigned, 3. */
    static Stream<Arguments> types() {
        return Stream.of(
                Arguments.of("F64", DType.F32, "000000000000f03f 00000000000000c0 0000000000000840", -2),
                Arguments.of("F32", DType.F64, "0000803f 000000c0 00004040", -2),
                Arguments.of("F32", DType.BF16, "0000803f 000000c0 00004040", -2),
                Arguments.of("F32", DType.F16, "0000803f 000000c0 00004040", -2),
                Arguments.of("F16", DType.F32, "003c 00c0 0042", -2),
                Arguments.of("F16", DType.BF16, "003c 00c0 0042", -2),
                Arguments.of("BF16", DType.F32, "803f 00c0 4040", -2),
                Arguments.of("BF16", DType.F64, "803f 00c0 4040", -2),
                Arguments.of("BF16", DType.BF16, "803f 00c0 4040", -2),
                Arguments.of("I64", DType.I32, "0100000000000000 feffffffffffffff 0300000000000000", -2),
                Arguments.of("I32", DType.I32, "01000000 feffffff 03000000", -2),
                Arguments.of("I16", DType.I32, "0100 feff 0300", -2),
                Arguments.of("I8", DType.I32, "01 fe 03", -2),
                Arguments.of("U64", DType.I32, "0100000000000000 c800000000000000 0300000000000000", 200),
                Arguments.of("U32", DType.I32, "01000000 c8000000 03000000", 200),
                Arguments.of("U16", DType.I32, "0100 409c 0300", 40000),
                Arguments.of("U8", DType.I32, "01 c8 03", 200));
    }

    @ParameterizedTest
    @MethodSource("types")
    void typesAreConverted(String type, DType target, String hex, double second) throws IOException {
        byte[] data = HexFormat.of().parseHex(hex.replace(" ", ""));
        byte[] header = one(type, "[3]", "[0,%d]".formatted(data.length)).getBytes(StandardCharsets.UTF_8);
        try (TestTensors tensors = new TestTensors(1);
                Safetensors file = Safetensors.open(file(bytes(header, data)))) {
            Tensor x = file.read("x", tensors.memory(), MemoryKind.WEIGHTS, target);
            assertThat(x.name()).isEqualTo("x");
            assertThat(x.dtype()).isEqualTo(target);
            assertThat(new double[] {x.get(0), x.get(1), x.get(2)}).containsExactly(1, second, 3);
        }
    }

    @ParameterizedTest
    @CsvSource({"I64,2147483648", "I64,-2147483649", "I64,-9223372036854775808", "U64,2147483648", "U64,-1",
        "U32,2147483648", "U32,4294967295"})
    void integersOutside32BitsAreRefused(String type, long value) throws IOException {
        int size = FileDType.valueOf(type).bytes();
        byte[] data = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putLong(0, 5).putLong(size, value).array();
        byte[] header = one(type, "[2]", "[0,%d]".formatted(2 * size)).getBytes(StandardCharsets.UTF_8);
        try (TestTensors tensors = new TestTensors(1);
                Safetensors file = Safetensors.open(file(bytes(header, Arrays.copyOf(data, 2 * size))))) {
            assertThatExceptionOfType(InputException.class)
                    .isThrownBy(() -> file.read("x", tensors.memory(), MemoryKind.DATA, DType.I32))
                    .withMessageContaining(
                            "element 1 is " + (type.equals("U64") ? Long.toUnsignedString(value) : value));
        }
    }

    @Test
    void wrongUseIsExplained() throws IOException {
        try (TestTensors tensors = new TestTensors(1); Safetensors file = Safetensors.open(file(bytes(GOOD, 28)))) {
            assertThatExceptionOfType(InputException.class).isThrownBy(() -> file.entry("c"))
                    .withMessageContaining("has no tensor \"c\"").withMessageContaining("\"a\", \"b\"");
            assertThatExceptionOfType(InputException.class)
                    .isThrownBy(() -> file.readInto("a", tensors.zeros("a", DType.F32, 3, 2)))
                    .withMessageContaining("\"a\" has shape [2, 3], wanted [3, 2]");
            assertThatExceptionOfType(InputException.class)
                    .isThrownBy(() -> file.read("a", tensors.memory(), MemoryKind.DATA, DType.I32))
                    .withMessageContaining("is F32, which is not read as I32");
        }
    }

    /** Every lie, and the words of the message that must name it. */
    static Stream<Arguments> lies() {
        String huge = "9223372036854775807";
        String x = "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}";
        String four = "4294967296";
        return Stream.of(
                lie("empty file", new byte[0], "has 0 bytes"),
                lie("no room for a length", new byte[7], "has 7 bytes"),
                lie("no header", new byte[8], "give the header 0 bytes"),
                lie("length 2^63", length(Long.MIN_VALUE), "9223372036854775808 bytes"),
                lie("length 2^64-1", length(-1), "18446744073709551615 bytes"),
                lie("length over the bound", length(100_000_001), "100000001 bytes"),
                lie("length beyond the file", length(1000), "984 of them are missing"),
                lie("length at the bound", length(100_000_000), "99,999,984 of them are missing"),
                lie("not JSON", bytes("{\"a\"}", 0), "not valid JSON at character 4"),
                lie("blank first", bytes(" {}", 0), "does not start with {"),
                lie("a list", bytes("[]", 0), "does not start with {"),
                lie("unfinished", bytes("{\"x\":{\"dtype\":\"F32\"", 0), "not valid JSON"),
                lie("text after it", bytes("{} x", 0), "not valid JSON"),
                lie("second value after it", bytes("{} {}", 0), "more text after the end"),
                lie("bad UTF-8", bytes(new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'}, new byte[0]),
                        "not valid UTF-8 at byte 2"),
                lie("overlong UTF-8", bytes(new byte[] {'{', '"', (byte) 0xc0, (byte) 0x80, '"', '}'}, new byte[0]),
                        "not valid UTF-8 at byte 2"),
                lie("deep", bytes("{\"x\":" + "[".repeat(100_000), 0), "expected an object, got a list"),
                lie("deep shape", bytes(one("F32", "[".repeat(100_000), "[0,0]"), 0), "expected an integer"),
                lie("duplicate tensor", bytes("{\"x\":%s,\"x\":%s}".formatted(x, x), 4), "Duplicate field 'x'"),
                lie("duplicate key", bytes("{\"x\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0),
                        "Duplicate field 'dtype'"),
                lie("unknown key", bytes("{\"x\":{\"type\":\"F32\"}}", 0), "unknown key \"type\""),
                lie("missing key", bytes("{\"x\":{\"dtype\":\"F32\",\"shape\":[]}}", 0), "needs dtype, shape"),
                lie("tensor not an object", bytes("{\"x\":7}", 0), "expected an object, got \"7\""),
                lie("metadata not strings", bytes("{\"__metadata__\":{\"a\":1}}", 0), "expected a string"),
                lie("metadata not an object", bytes("{\"__metadata__\":null}", 0), "expected an object"),
                lie("unknown dtype", bytes(one("F31", "[1]", "[0,4]"), 4), "unknown dtype \"F31\""),
                lie("dtype a number", bytes(one("F32", "[1]", "[0,4]").replace("\"F32\"", "32"), 4),
                        "expected a string"),
                lie("negative axis", bytes(one("F32", "[-1,-4]", "[0,16]"), 16), "-1 is negative"),
                lie("fractional axis", bytes(one("F32", "[1.0]", "[0,4]"), 4), "expected an integer"),
                lie("axis 2^63", bytes(one("F32", "[9223372036854775808]", "[0,4]"), 4), "does not fit 64 bits"),
                lie("axis of 200 digits", bytes(one("F32", "[" + "9".repeat(200) + "]", "[0,4]"), 4), "not valid JSON"),
                lie("axis 2^63-1", bytes(one("F32", "[" + huge + "]", "[0,4]"), 4), "more than 2^63"),
                lie("product 2^64", bytes(one("U8", "[%s,%s]".formatted(four, four), "[0,0]"), 0), "more than 2^63"),
                lie("product 2^64 and zero", bytes(one("U8", "[%s,%s,0]".formatted(four, four), "[0,0]"), 0),
                        "more than 2^63"),
                lie("many axes", bytes(one("U8", "[" + "1,".repeat(64) + "1]", "[0,1]"), 1), "more than 64 entries"),
                lie("shape a number", bytes(one("F32", "4", "[0,16]"), 16), "expected a list"),
                lie("one offset", bytes(one("F32", "[1]", "[0]"), 4), "two data_offsets"),
                lie("three offsets", bytes(one("F32", "[1]", "[0,4,8]"), 8), "more than 2 entries"),
                lie("negative offset", bytes(one("F32", "[1]", "[-4,0]"), 4), "-4 is negative"),
                lie("offset 2^64", bytes(one("F32", "[1]", "[0,18446744073709551616]"), 4), "64 bits"),
                lie("begin after end", bytes(one("F32", "[1]", "[4,0]"), 4), "begins at 4 but ends at 0"),
                lie("too short", bytes(one("F32", "[2]", "[0,4]"), 4), "needs 8 bytes, data_offsets [0, 4] hold 4"),
                lie("too long", bytes(one("F32", "[2]", "[0,12]"), 12), "needs 8 bytes"),
                lie("huge but consistent", bytes(one("F32", "[1152921504606846976]", "[0,4611686018427387904]"), 4),
                        "4,611,686,018,427,387,900 of"),
                lie("hole at the start", bytes(one("F32", "[1]", "[4,8]"), 8), "hole after the start"),
                lie("hole between", bytes(GOOD.replace("[24,28]", "[28,32]"), 32), "hole after \"a\""),
                lie("overlap", bytes(GOOD.replace("[24,28]", "[22,26]"), 26), "begins at 22, inside \"a\""),
                lie("same place", bytes(GOOD.replace("[24,28]", "[0,4]"), 24), "inside \"b\""),
                lie("no data", bytes(GOOD, 0), "28 of 28 data bytes are missing"),
                lie("one byte missing", bytes(GOOD, 27), "1 of 28 data bytes are missing"),
                lie("one byte too many", bytes(GOOD, 29), "1 bytes after the last tensor"));
    }

    private static Arguments lie(String name, byte[] bytes, String words) {
        return Arguments.of(name, bytes, words);
    }

    private static byte[] length(long n) {
        return ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN).putLong(n).array();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("lies")
    void liesAreNamedBeforeAnythingIsAllocated(String lie, byte[] bytes, String words) throws IOException {
        Path file = file(bytes);
        long before = allocated();
        assertThatExceptionOfType(InputException.class).as(lie).isThrownBy(() -> Safetensors.open(file).close())
                .withMessageStartingWith(file + ": ").withMessageContaining(words).withMessageContaining("; ")
                .satisfies(e -> assertThat(e.getMessage().length()).isLessThan(1500));
        assertThat(allocated() - before).isLessThan(10_000_000);
    }

    private static long allocated() {
        return ((ThreadMXBean) ManagementFactory.getThreadMXBean()).getCurrentThreadAllocatedBytes();
    }

    @Test
    void everyTruncationIsNamed() throws IOException {
        byte[] whole = bytes(GOOD, 28);
        for (int n = 0; n < whole.length; n++) {
            Path file = file(Arrays.copyOf(whole, n));
            String words = n < 8 ? "has " + n + " bytes" : "missing";
            assertThatExceptionOfType(InputException.class).as("%d bytes", n)
                    .isThrownBy(() -> Safetensors.open(file).close()).withMessageContaining(words);
        }
    }

    /** The mapping stays, the pages behind it go. */
    @Test
    void fileCutShortWhileOpenIsNamed() throws IOException {
        byte[] header = one("F32", "[1000000]", "[0,4000000]").getBytes(StandardCharsets.UTF_8);
        Path file = file(bytes(header, new byte[4_000_000]));
        try (TestTensors tensors = new TestTensors(1); Safetensors open = Safetensors.open(file)) {
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                channel.truncate(1000);
            }
            for (DType target : new DType[] {DType.F32, DType.BF16}) {
                assertThatExceptionOfType(InputException.class)
                        .isThrownBy(() -> open.read("x", tensors.memory(), MemoryKind.WEIGHTS, target))
                        .withMessageContaining("became shorter or unreadable while tensor \"x\" was read");
            }
        }
    }

    @Test
    void whatIsNoFileIsNamed() {
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> Safetensors.open(folder.resolve("none")))
                .withMessageContaining("does not exist");
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> Safetensors.open(folder))
                .withMessageContaining("is a folder");
    }

    @Test
    void controlCharactersOfAFileDoNotReachTheTerminal() throws IOException {
        Path file = file(bytes("{\"\\u001b[2J\":7}", 0));
        assertThatExceptionOfType(InputException.class).isThrownBy(() -> Safetensors.open(file).close())
                .withMessageContaining("\\u001b[2J").withMessageNotContaining("\u001b");
    }

    @Test
    void writerMakesTheDocumentedBytes() throws IOException {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor w = tensors.zeros("w", DType.F32, 3);
            w.set(0, 1);
            w.set(1, -2);
            w.set(2, 3);
            Tensor i = tensors.zeros("i", DType.I32, 1);
            i.setInt(0, 7);
            Path file = folder.resolve("y.safetensors");
            SafetensorsWriter writer = new SafetensorsWriter().metadata("format", "pt").add(w, DType.BF16).add(i);
            writer.write(file);
            String json = """
                    {"__metadata__":{"format":"pt"},\
                    "i":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},\
                    "w":{"dtype":"BF16","shape":[3],"data_offsets":[4,10]}}""";
            byte[] header = (json + " ".repeat(-json.length() & 7)).getBytes(StandardCharsets.UTF_8);
            byte[] data = HexFormat.of().parseHex("07000000803f00c04040");
            assertThat(Files.readAllBytes(file)).isEqualTo(bytes(header, data));
            assertThat(writer.bytes()).isEqualTo(Files.size(file));
        }
    }

    /** reference.safetensors was written by the format's own library, version 0.8.0, from the same numbers. */
    @Test
    void bytesAreThoseOfTheReferenceImplementation() throws IOException {
        try (TestTensors tensors = new TestTensors(1);
                InputStream in = getClass().getResourceAsStream("/checkpoint/reference.safetensors")) {
            SafetensorsWriter writer = new SafetensorsWriter().metadata("format", "pt");
            for (DType dtype : new DType[] {DType.F64, DType.F32, DType.F16}) {
                Tensor x = tensors.zeros("x_" + dtype, dtype, 3, 5);
                for (int i = 0; i < 15; i++) {
                    x.setFlat(i, i - 7.5);
                }
                writer.add(x);
            }
            Tensor scalar = tensors.zeros("scalar", DType.F32);
            scalar.setFlat(0, 42);
            Tensor ids = tensors.zeros("ids", DType.I32, 2);
            ids.setInt(1, -9);
            Path file = folder.resolve("y.safetensors");
            writer.add(scalar).add(ids).add(tensors.zeros("empty", DType.F32, 0, 4)).write(file);
            byte[] reference = in.readAllBytes();
            assertThat(Files.readAllBytes(file)).isEqualTo(reference);
            try (Safetensors read = Safetensors.open(file(reference))) {
                assertThat(read.names()).containsExactly("x_F64", "empty", "scalar", "x_F32", "ids", "x_F16");
                Tensor x = read.read("x_F16", tensors.memory(), MemoryKind.DATA, DType.F32);
                assertThat(x.get(2, 4)).isEqualTo(6.5);
                Tensor one = read.read("scalar", tensors.memory(), MemoryKind.DATA, DType.F64);
                assertThat(one.rank()).isZero();
                assertThat(one.getFlat(0)).isEqualTo(42);
            }
        }
    }

    @Test
    void writerRefusesWhatTheFormatCannotHold() {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor x = tensors.zeros("x", DType.F32, 1);
            SafetensorsWriter writer = new SafetensorsWriter().add(x);
            assertThatExceptionOfType(IllegalArgumentException.class).isThrownBy(() -> writer.add(x))
                    .withMessageContaining("x F32 [1]");
            assertThatExceptionOfType(IllegalArgumentException.class)
                    .isThrownBy(() -> writer.add(x.named("__metadata__")));
            assertThatExceptionOfType(IllegalArgumentException.class)
                    .isThrownBy(() -> writer.add(x.named("y"), DType.I32)).withMessageContaining("as I32");
        }
    }

    /** Longer than the writer's buffer, so that pieces must join without a seam. */
    @Test
    void longTensorsAreWrittenInPieces() {
        try (TestTensors tensors = new TestTensors(1)) {
            long n = (5 << 20) + 3;
            Tensor x = tensors.zeros("x", DType.F32, n);
            for (long i = 0; i < n; i++) {
                x.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, i % 251);
            }
            Path file = folder.resolve("long.safetensors");
            new SafetensorsWriter().add(x, DType.BF16).add(x.named("y")).write(file);
            try (Safetensors back = Safetensors.open(file)) {
                for (String name : back.names()) {
                    Tensor y = back.read(name, tensors.memory(), MemoryKind.WEIGHTS, DType.F32);
                    assertThat(y.segment().mismatch(x.segment())).as(name).isEqualTo(-1);
                }
            }
        }
    }
}
