package org.transnormer.checkpoint;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import org.eclipse.collections.api.factory.Lists;
import org.eclipse.collections.api.factory.Sets;
import org.eclipse.collections.api.factory.SortedMaps;
import org.eclipse.collections.api.list.MutableList;
import org.eclipse.collections.api.map.sorted.MutableSortedMap;
import org.eclipse.collections.api.set.MutableSet;
import org.transnormer.EnvironmentException;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * Writes a safetensors file. The bytes are a function of the contents only: tensors lie by {@link FileDType}, widest
 * first, then by name, so that each is aligned to its elements without a gap; the data begins at a multiple of 8. The
 * elements are read when they are written, and converted through one small buffer. SPEC section 6.1.
 *
 * <p>{@link #write} is one process's way: the file appears complete or not at all. Where several have parts of the
 * tensors, all add the same tensors, one of them calls {@link #create}, and then each {@link #fill}: every element has
 * its place in the file from the start, so nobody waits for anybody, and the bytes are those that one process writes.
 */
public final class SafetensorsWriter {
    private static final int BUFFER = 4 << 20;
    /** The largest piece handed to one write: byte buffers hold less than 2 GiB. */
    private static final long PIECE = 1 << 28;
    private static final int BUFFERS = 2;

    private final MutableSortedMap<String, String> metadata = SortedMaps.mutable.empty();
    private final MutableList<Item> items = Lists.mutable.empty();
    private final MutableSet<String> names = Sets.mutable.empty();

    private record Item(Part part, FileDType dtype) {
        String name() {
            return part.name();
        }

        long bytes() {
            return part.size() * dtype.bytes();
        }
    }

    /** Adds a string to {@code __metadata__}. */
    public SafetensorsWriter metadata(String key, String value) {
        metadata.put(key, value);
        return this;
    }

    /** Adds a tensor under its name, in its own type. */
    public SafetensorsWriter add(Tensor tensor) {
        return add(tensor, tensor.dtype());
    }

    /**
     * Adds a tensor under its name.
     *
     * @param dtype type in the file; I32 tensors stay I32, floating ones are rounded once
     * @throws IllegalArgumentException if the name is taken or the types do not convert
     */
    public SafetensorsWriter add(Tensor tensor, DType dtype) {
        return add(Part.whole(tensor), dtype);
    }

    /** Adds a tensor of which other processes may have other parts; all add it alike. Otherwise as above. */
    SafetensorsWriter add(Part part, DType dtype) {
        if (part.dtype().isFloat() != dtype.isFloat()) {
            throw new IllegalArgumentException("%s %s cannot be written as %s".formatted(part.name(), part.dtype(),
                    dtype));
        }
        if (part.name().equals(SafetensorsHeader.METADATA) || !names.add(part.name())) {
            throw new IllegalArgumentException("the name of %s %s %s is taken".formatted(part.name(), part.dtype(),
                    Arrays.toString(part.shape())));
        }
        items.add(new Item(part, FileDType.of(dtype)));
        return this;
    }

    /** Bytes that the file will have. */
    public long bytes() {
        return header().length + items.sumOfLong(Item::bytes);
    }

    /**
     * Writes the file, replacing what stood under the name.
     *
     * @throws EnvironmentException if it cannot be written; nothing is left behind
     */
    public void write(Path file) {
        byte[] header = header();
        AtomicFiles.write(file, header.length + items.sumOfLong(Item::bytes), channel -> {
            writeAll(channel, ByteBuffer.wrap(header), 0);
            fill(channel, header.length);
        });
    }

    /**
     * Makes a new file of full length that lacks the elements, for several processes to fill.
     *
     * @return what its header adds to the file's fingerprint
     */
    long create(Path file) throws IOException {
        byte[] header = header();
        Files.write(file, header, StandardOpenOption.CREATE_NEW);
        try (RandomAccessFile whole = new RandomAccessFile(file.toFile(), "rw")) {
            whole.setLength(header.length + items.sumOfLong(Item::bytes));
        }
        return Fingerprint.of(MemorySegment.ofArray(header), 0, 0, header.length);
    }

    /**
     * Writes this process's elements into a file that is there, and forces it to the disk. The file is opened for
     * writing alone: a file system between machines then hands on the bytes that were written, never the page around
     * them, where others write too.
     *
     * @return what they add to the file's fingerprint
     */
    long fill(Path file) throws IOException {
        if (items.noneSatisfy(item -> item.part().values() != null)) {
            return 0;
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            long sum = fill(channel, header().length);
            channel.force(true);
            return sum;
        }
    }

    private long fill(FileChannel channel, long data) throws IOException {
        long sum = 0;
        long begin = data;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffers = arena.allocate((long) BUFFERS * BUFFER, 64);
            for (Item item : items) {
                if (item.part().values() != null) {
                    sum += new Transfer(channel, item, begin, buffers).write();
                }
                begin += item.bytes();
            }
        }
        return sum;
    }

    /** Length and JSON, padded with blanks to a multiple of 8. */
    private byte[] header() {
        items.sortThis(Comparator.comparing(Item::dtype).thenComparing(Item::name));
        byte[] json = Json.write(out -> {
            out.writeStartObject();
            if (metadata.notEmpty()) {
                out.writeObjectFieldStart(SafetensorsHeader.METADATA);
                for (Map.Entry<String, String> entry : metadata.entrySet()) {
                    out.writeStringField(entry.getKey(), entry.getValue());
                }
                out.writeEndObject();
            }
            long begin = 0;
            for (Item item : items) {
                describe(out, item, begin);
                begin += item.bytes();
            }
            out.writeEndObject();
        });
        int padded = Math.ceilDiv(json.length, Long.BYTES) * Long.BYTES;
        ByteBuffer header = ByteBuffer.allocate(Long.BYTES + padded).order(ByteOrder.LITTLE_ENDIAN);
        header.putLong(padded).put(json);
        Arrays.fill(header.array(), header.position(), header.capacity(), (byte) ' ');
        return header.array();
    }

    private static void describe(JsonGenerator out, Item item, long begin) throws IOException {
        out.writeObjectFieldStart(item.name());
        out.writeStringField("dtype", item.dtype().name());
        out.writeFieldName("shape");
        long[] shape = item.part().shape();
        out.writeArray(shape, 0, shape.length);
        out.writeFieldName("data_offsets");
        out.writeArray(new long[] {begin, begin + item.bytes()}, 0, 2);
        out.writeEndObject();
    }

    /**
     * One tensor's elements on their way to the file.
     *
     * @param begin byte of the file where the tensor begins
     * @param buffers one for elements from a device, one for elements in the file's type
     */
    private record Transfer(FileChannel channel, Item item, long begin, MemorySegment buffers) {

        long write() throws IOException {
            Tensor values = item.part().values();
            FileDType source = FileDType.of(values.dtype());
            boolean inPlace = source == item.dtype() && !(values.storage() instanceof Storage.Device);
            long step = inPlace ? PIECE / source.bytes() : BUFFER / Math.max(source.bytes(), item.dtype().bytes());
            long[] sum = {0};
            Elements.<IOException>forEachRun(values, (first, at, count) -> {
                for (long i = 0; i < count; i += step) {
                    long n = Math.min(step, count - i);
                    sum[0] += place(first + i, n, converted(onHost(values, source, at + i, n), source, n));
                }
            });
            return sum[0];
        }

        private MemorySegment onHost(Tensor values, FileDType source, long at, long n) {
            if (!(values.storage() instanceof Storage.Device)) {
                return values.segment().asSlice(at * source.bytes(), n * source.bytes());
            }
            MemorySegment buffer = buffers.asSlice(0, n * source.bytes());
            Tensor.of(values.name(), values.dtype(), new Storage.Host(buffer), 0, n)
                    .copyFrom(Tensor.of(values.name(), values.dtype(), values.storage(), at, n));
            return buffer;
        }

        private MemorySegment converted(MemorySegment elements, FileDType source, long n) {
            if (source == item.dtype()) {
                return elements;
            }
            MemorySegment buffer = buffers.asSlice(BUFFER, n * item.dtype().bytes());
            Elements.copy(elements, 0, source, buffer, 0, item.dtype(), n);
            return buffer;
        }

        /** Writes elements {@code first} to {@code first + n} of the part. */
        private long place(long first, long n, MemorySegment bytes) throws IOException {
            int size = item.dtype().bytes();
            long sum = 0;
            long run;
            for (long i = 0; i < n; i += run) {
                run = Math.min(n - i, item.part().places().runFrom(first + i));
                long at = begin + item.part().places().of(first + i) * size;
                writeAll(channel, bytes.asSlice(i * size, run * size).asByteBuffer(), at);
                sum += Fingerprint.of(bytes, i * size, at, run * size);
            }
            return sum;
        }
    }

    private static void writeAll(FileChannel channel, ByteBuffer bytes, long at) throws IOException {
        long to = at;
        while (bytes.hasRemaining()) {
            to += channel.write(bytes, to);
        }
    }
}
