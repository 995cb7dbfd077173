package org.transnormer.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Map;
import org.eclipse.collections.api.list.ImmutableList;
import org.eclipse.collections.api.list.primitive.ImmutableLongList;
import org.eclipse.collections.api.map.ImmutableMap;
import org.transnormer.InputException;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * A safetensors file, mapped into memory read-only. {@link #open} checks the whole header before anything is allocated
 * for a tensor: lengths, JSON, types, shapes, and that the tensors tile the data exactly. The file must not change
 * while it is open. SPEC section 6.1.
 *
 * <pre>
 * length n of the header: 8 bytes, little-endian
 * header: n bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}, ..., "__metadata__": {string: string}}
 * data: row-major little-endian elements; offsets count from here
 * </pre>
 */
public final class Safetensors implements AutoCloseable {
    private static final ValueLayout.OfLong LENGTH =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final String NOT_ONE = "give a .safetensors file; if it is one, it is damaged: get it again";

    /** Elements on their way to a device. */
    private static final int BUFFER = 4 << 20;

    private final Path file;
    private final Arena arena;
    private final MemorySegment whole;
    private final MemorySegment data;
    private final SafetensorsHeader header;
    private final ImmutableMap<String, Entry> byName;

    /**
     * One tensor of a file.
     *
     * @param name its name
     * @param dtype type of its elements
     * @param shape sizes of its axes
     * @param begin first byte, counted from the start of the data
     * @param end byte after the last
     */
    public record Entry(String name, FileDType dtype, ImmutableLongList shape, long begin, long end) {
        /** Number of elements. */
        public long size() {
            return (end - begin) / dtype.bytes();
        }
    }

    private Safetensors(Path file, Arena arena, MemorySegment whole, long begin, SafetensorsHeader header) {
        this.file = file;
        this.arena = arena;
        this.whole = whole;
        this.data = whole.asSlice(begin);
        this.header = header;
        this.byName = header.entries().groupByUniqueKey(Entry::name).toImmutable();
    }

    /**
     * Opens and checks a file.
     *
     * @throws InputException if it cannot be read or anything about it is not as the format says
     */
    public static Safetensors open(Path file) {
        long size = InputFiles.size(file);
        if (size < Long.BYTES) {
            throw InputFiles.bad(file, "has %d bytes, a header needs at least 8".formatted(size), NOT_ONE);
        }
        Arena arena = Arena.ofShared();
        boolean opened = false;
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            MemorySegment map = channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
            long length = map.get(LENGTH, 0);
            if (length < 2 || length > SafetensorsHeader.LARGEST) {
                throw InputFiles.bad(file, "its first 8 bytes give the header %s bytes; 2 to %,d are possible"
                        .formatted(Long.toUnsignedString(length), SafetensorsHeader.LARGEST), NOT_ONE);
            }
            if (length > size - Long.BYTES) {
                throw InputFiles.bad(file, "is truncated: its header has %,d bytes, %,d of them are missing"
                        .formatted(length, length - (size - Long.BYTES)), "download or copy it again");
            }
            byte[] json = map.asSlice(Long.BYTES, length).toArray(ValueLayout.JAVA_BYTE);
            Safetensors opening = new Safetensors(file, arena, map, Long.BYTES + length,
                    SafetensorsHeader.parse(file, json, size - Long.BYTES - length));
            opened = true;
            return opening;
        } catch (IOException e) {
            throw InputFiles.unreadable(file, e);
        } finally {
            if (!opened) {
                arena.close();
            }
        }
    }

    public Path file() {
        return file;
    }

    /** Names of the tensors, in the order of their bytes. */
    public ImmutableList<String> names() {
        return header.entries().collect(Entry::name);
    }

    /** The tensors, in the order of their bytes. */
    public ImmutableList<Entry> entries() {
        return header.entries();
    }

    /** The strings under {@code __metadata__}. */
    public ImmutableMap<String, String> metadata() {
        return header.metadata();
    }

    /**
     * The JSON object that a string under {@code __metadata__} holds: Map, List, String, Boolean, null, Long and Double.
     *
     * @return null if there is no such string
     * @throws InputException if it holds anything else
     */
    public Map<String, Object> metadataObject(String key) {
        String text = metadata().get(key);
        return text == null ? null : Json.parse(file, "metadata " + InputFiles.quoted(key) + " ",
                text.getBytes(StandardCharsets.UTF_8), Json::object);
    }

    public boolean contains(String name) {
        return byName.containsKey(name);
    }

    /**
     * Type, shape and place of one tensor.
     *
     * @throws InputException if the file has no such tensor
     */
    public Entry entry(String name) {
        Entry entry = byName.get(name);
        if (entry == null) {
            throw InputFiles.bad(file, "has no tensor " + InputFiles.quoted(name),
                    "it holds " + header.entries().size() + " tensors: " + firstNames());
        }
        return entry;
    }

    /**
     * Allocates a contiguous tensor of the file's shape and name and reads it. F64, F32, F16 and BF16 are read into any
     * floating type with one rounding; integers and BOOL into I32.
     *
     * @throws InputException if there is no such tensor, it cannot be read as {@code target}, or an integer does
     *     not fit 32 bits
     */
    public Tensor read(String name, Memory memory, MemoryKind kind, DType target) {
        Entry entry = entry(name);
        checkConvertible(entry, target);
        Tensor tensor = memory.allocate(kind, name, target, entry.shape().toArray());
        copy(entry, Part.whole(tensor));
        return tensor;
    }

    /**
     * Reads a tensor into an existing one of the same shape, contiguous or strided, converting as {@link #read} does.
     *
     * @throws InputException as for read, and if the shapes differ
     */
    public void readInto(String name, Tensor target) {
        readInto(Part.whole(target).named(name));
    }

    /**
     * Reads the elements of a tensor that a part has, and touches no others; otherwise as above.
     *
     * @param part of a tensor of its name
     */
    void readInto(Part part) {
        Entry entry = entry(part.name());
        checkConvertible(entry, part.dtype());
        if (!Arrays.equals(entry.shape().toArray(), part.shape())) {
            throw InputFiles.bad(file, "tensor %s has shape %s, wanted %s".formatted(
                    InputFiles.quoted(part.name()), entry.shape(), Arrays.toString(part.shape())),
                    "the file belongs to another model");
        }
        if (part.values() != null) {
            copy(entry, part);
        }
    }

    /**
     * A tensor where it lies in the file, without a copy: read-only, and valid until the file is closed.
     *
     * @return null if its type is none that tensors have
     * @throws InputException if there is no such tensor
     */
    public Tensor view(String name) {
        Entry entry = entry(name);
        DType dtype = entry.dtype().tensorType();
        return dtype == null ? null
                : Tensor.of(name, dtype, new Storage.Host(bytes(entry)), 0, entry.shape().toArray());
    }

    /** The bytes of one tensor in the file. */
    MemorySegment bytes(Entry entry) {
        return data.asSlice(entry.begin(), entry.end() - entry.begin());
    }

    /**
     * What the n-th of some nearly equal ranges of the file adds to its {@link Fingerprint}.
     *
     * @throws InputException if it cannot be read
     */
    long fingerprint(int n, int ranges) {
        long from = whole.byteSize() * n / ranges;
        long to = whole.byteSize() * (n + 1) / ranges;
        try {
            return Fingerprint.of(whole, from, from, to - from);
        } catch (InternalError e) {
            throw new InputException(file.toString(), "became shorter or unreadable while it was checked",
                    "check the disk, and that no other program writes the file", e);
        }
    }

    /** Unmaps the file. Idempotent. */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }

    private void copy(Entry entry, Part part) {
        Tensor target = part.values();
        FileDType type = FileDType.of(target.dtype());
        try (Arena arena = Arena.ofConfined()) {
            if (!(target.storage() instanceof Storage.Device)) {
                Elements.forEachRun(target,
                        (first, at, count) -> copy(entry, part, first, target.segment(), at, count));
                return;
            }
            long step = BUFFER / type.bytes();
            MemorySegment buffer = arena.allocate(BUFFER, 64);
            Elements.forEachRun(target, (first, at, count) -> {
                for (long i = 0; i < count; i += step) {
                    long n = Math.min(step, count - i);
                    copy(entry, part, first + i, buffer, 0, n);
                    Tensor.of(target.name(), target.dtype(), target.storage(), at + i, n)
                            .copyFrom(Tensor.of(target.name(), target.dtype(), new Storage.Host(buffer), 0, n));
                }
            });
        } catch (InternalError e) {
            // How the JVM reports a mapped page that cannot be read.
            throw new InputException(file.toString(), "became shorter or unreadable while tensor %s was read".formatted(
                    InputFiles.quoted(entry.name())), "check the disk, and that no other program writes the file", e);
        }
    }

    /** Elements {@code first} to {@code first + count} of a part, to element {@code at} of some memory. */
    private void copy(Entry entry, Part part, long first, MemorySegment to, long at, long count) {
        FileDType source = entry.dtype();
        FileDType type = FileDType.of(part.dtype());
        long run;
        for (long i = 0; i < count; i += run) {
            run = Math.min(count - i, part.places().runFrom(first + i));
            long there = part.places().of(first + i);
            long from = entry.begin() + there * source.bytes();
            long bad = Elements.copy(data, from, source, to, (at + i) * type.bytes(), type, run);
            if (bad >= 0) {
                throw InputFiles.bad(file, "tensor %s: element %d is %s, which does not fit 32 bits".formatted(
                        InputFiles.quoted(entry.name()), there + bad,
                        Elements.shown(data, from + bad * source.bytes(), source)), "correct the file");
            }
        }
    }

    private void checkConvertible(Entry entry, DType target) {
        if (!Elements.convertible(entry.dtype(), target)) {
            throw InputFiles.bad(file, "tensor %s is %s, which is not read as %s".formatted(
                    InputFiles.quoted(entry.name()), entry.dtype(), target),
                    target.isFloat()
                            ? "convert it to F32, F16 or BF16 first" : "an integer type is needed here");
        }
    }

    private String firstNames() {
        ImmutableList<String> names = names();
        String some = names.take(5).collect(InputFiles::quoted).makeString(", ");
        return names.size() > 5 ? some + ", ..." : some;
    }
}
