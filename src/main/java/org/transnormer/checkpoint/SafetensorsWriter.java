package org.transnormer.checkpoint;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
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
 * first, then by name, so that each is aligned to its elements without a gap; the data begins at a multiple of 8. The elements are
 * read when {@link #write} runs, converted through one small buffer, and the file appears complete or not at all. SPEC
 * section 6.1.
 */
public final class SafetensorsWriter {
    private static final int BUFFER = 4 << 20;
    /** The largest piece handed to one write: byte buffers hold less than 2 GiB. */
    private static final long PIECE = 1 << 28;

    private final MutableSortedMap<String, String> metadata = SortedMaps.mutable.empty();
    private final MutableList<Item> items = Lists.mutable.empty();
    private final MutableSet<String> names = Sets.mutable.empty();

    private record Item(Tensor tensor, FileDType dtype) {
        String name() {
            return tensor.name();
        }

        long bytes() {
            return tensor.size() * dtype.bytes();
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
        if (tensor.dtype().isFloat() != dtype.isFloat()) {
            throw new IllegalArgumentException("%s cannot be written as %s".formatted(tensor, dtype));
        }
        if (tensor.name().equals(SafetensorsHeader.METADATA) || !names.add(tensor.name())) {
            throw new IllegalArgumentException("the name of %s is taken".formatted(tensor));
        }
        items.add(new Item(tensor, FileDType.of(dtype)));
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
            writeAll(channel, ByteBuffer.wrap(header));
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment buffer = arena.allocate(BUFFER, 64);
                for (Item item : items) {
                    write(channel, item, buffer);
                }
            }
        });
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
        long[] shape = item.tensor().shape();
        out.writeArray(shape, 0, shape.length);
        out.writeFieldName("data_offsets");
        out.writeArray(new long[] {begin, begin + item.bytes()}, 0, 2);
        out.writeEndObject();
    }

    private static void write(FileChannel channel, Item item, MemorySegment buffer) throws IOException {
        Tensor tensor = item.tensor();
        if (tensor.storage() instanceof Storage.Device) {
            try (Arena temporary = Arena.ofConfined()) {
                Tensor onHost = Tensor.allocate(temporary, tensor.name(), tensor.dtype(), tensor.shape());
                onHost.copyFrom(tensor);
                write(channel, new Item(onHost, item.dtype()), buffer);
            }
            return;
        }
        FileDType source = FileDType.of(tensor.dtype());
        FileDType target = item.dtype();
        Elements.<IOException>forEachRun(tensor, (_, at, count) -> {
            MemorySegment run = tensor.segment().asSlice(at * source.bytes(), count * source.bytes());
            long step = source == target ? PIECE / source.bytes() : BUFFER / Math.max(source.bytes(), target.bytes());
            for (long i = 0; i < count; i += step) {
                long n = Math.min(step, count - i);
                MemorySegment piece = run.asSlice(i * source.bytes(), n * source.bytes());
                if (source != target) {
                    Elements.copy(piece, 0, source, buffer, 0, target, n);
                    piece = buffer.asSlice(0, n * target.bytes());
                }
                writeAll(channel, piece.asByteBuffer());
            }
        });
    }

    private static void writeAll(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }
}
