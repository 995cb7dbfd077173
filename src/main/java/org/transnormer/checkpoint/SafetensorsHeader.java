package org.transnormer.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Comparator;
import org.eclipse.collections.api.factory.Lists;
import org.eclipse.collections.api.factory.Maps;
import org.eclipse.collections.api.factory.primitive.LongLists;
import org.eclipse.collections.api.list.ImmutableList;
import org.eclipse.collections.api.list.MutableList;
import org.eclipse.collections.api.list.primitive.ImmutableLongList;
import org.eclipse.collections.api.list.primitive.MutableLongList;
import org.eclipse.collections.api.map.ImmutableMap;
import org.eclipse.collections.api.map.MutableMap;

/**
 * The validated header of a safetensors file.
 *
 * @param entries the tensors in the order of their bytes
 * @param metadata the strings under {@code __metadata__}
 */
record SafetensorsHeader(ImmutableList<Safetensors.Entry> entries, ImmutableMap<String, String> metadata) {
    static final String METADATA = "__metadata__";
    /** The format's own bound on the length of the header. */
    static final long LARGEST = 100_000_000;
    private static final int MOST_AXES = 64;
    private static final String PART = "the header ";
    private static final String CURE = "the file is damaged or was not written as safetensors: get it again";

    /**
     * Parses and checks a header.
     *
     * @param json the header's bytes
     * @param dataBytes how many bytes the file has after the header
     */
    static SafetensorsHeader parse(Path file, byte[] json, long dataBytes) {
        if (json[0] != '{') {
            throw InputFiles.bad(file, "the header does not start with {", CURE);
        }
        SafetensorsHeader header = Json.parse(file, PART, json, SafetensorsHeader::read);
        header.checkLayout(file, dataBytes);
        return header;
    }

    private static SafetensorsHeader read(JsonParser in) throws IOException {
        MutableMap<String, String> metadata = Maps.mutable.empty();
        MutableList<Safetensors.Entry> entries = Lists.mutable.empty();
        while (in.nextToken() != JsonToken.END_OBJECT) {
            String name = in.currentName();
            in.nextToken();
            if (name.equals(METADATA)) {
                readMetadata(in, metadata);
            } else {
                entries.add(readEntry(in, name));
            }
        }
        entries.sortThis(Comparator.comparingLong(Safetensors.Entry::begin).thenComparing(Safetensors.Entry::end)
                .thenComparing(Safetensors.Entry::name));
        return new SafetensorsHeader(entries.toImmutable(), metadata.toImmutable());
    }

    private static void readMetadata(JsonParser in, MutableMap<String, String> metadata) throws IOException {
        expect(in, JsonToken.START_OBJECT, METADATA, "an object");
        while (in.nextToken() != JsonToken.END_OBJECT) {
            String key = in.currentName();
            in.nextToken();
            metadata.put(key, Json.string(in, METADATA + " " + InputFiles.quoted(key)));
        }
    }

    private static Safetensors.Entry readEntry(JsonParser in, String name) throws IOException {
        String tensor = "tensor " + InputFiles.quoted(name);
        expect(in, JsonToken.START_OBJECT, tensor, "an object");
        FileDType dtype = null;
        ImmutableLongList shape = null;
        ImmutableLongList offsets = null;
        while (in.nextToken() != JsonToken.END_OBJECT) {
            String key = in.currentName();
            in.nextToken();
            switch (key) {
                case "dtype" -> dtype = dtype(in, tensor);
                case "shape" -> shape = integers(in, tensor + " shape", MOST_AXES);
                case "data_offsets" -> offsets = integers(in, tensor + " data_offsets", 2);
                default -> throw new Json.JsonException(in,
                        "%s has the unknown key %s".formatted(tensor, InputFiles.quoted(key)));
            }
        }
        if (dtype == null || shape == null || offsets == null || offsets.size() != 2) {
            throw new Json.JsonException(in, "%s needs dtype, shape and two data_offsets".formatted(tensor));
        }
        long begin = offsets.get(0);
        long end = offsets.get(1);
        if (begin > end) {
            throw new Json.JsonException(in, "%s begins at %d but ends at %d".formatted(tensor, begin, end));
        }
        long bytes = bytes(dtype, shape);
        if (bytes != end - begin) {
            throw new Json.JsonException(in, "%s %s %s needs %s bytes, data_offsets [%d, %d] hold %d".formatted(tensor,
                    dtype, shape, bytes < 0 ? "more than 2^63" : bytes, begin, end, end - begin));
        }
        return new Safetensors.Entry(name, dtype, shape, begin, end);
    }

    private static FileDType dtype(JsonParser in, String tensor) throws IOException {
        String name = Json.string(in, tensor + " dtype");
        for (FileDType dtype : FileDType.values()) {
            if (dtype.name().equals(name)) {
                return dtype;
            }
        }
        throw new Json.JsonException(in, "%s has the unknown dtype %s".formatted(tensor, InputFiles.quoted(name)));
    }

    /** A list of at most {@code most} integers, none negative. */
    private static ImmutableLongList integers(JsonParser in, String what, int most) throws IOException {
        expect(in, JsonToken.START_ARRAY, what, "a list");
        MutableLongList list = LongLists.mutable.empty();
        while (in.nextToken() != JsonToken.END_ARRAY) {
            long n = Json.integer(in, what);
            if (n < 0) {
                throw new Json.JsonException(in, "%s: %d is negative".formatted(what, n));
            }
            if (list.size() == most) {
                throw new Json.JsonException(in, "%s has more than %d entries".formatted(what, most));
            }
            list.add(n);
        }
        return list.toImmutable();
    }

    /** Size of a tensor; -1 if its non-zero axes alone pass 2^63, so that no later product of them can overflow. */
    private static long bytes(FileDType dtype, ImmutableLongList shape) {
        long bytes = dtype.bytes();
        boolean empty = false;
        for (int axis = 0; axis < shape.size(); axis++) {
            long n = shape.get(axis);
            empty |= n == 0;
            if (n > 0 && bytes > Long.MAX_VALUE / n) {
                return -1;
            }
            bytes *= Math.max(n, 1);
        }
        return empty ? 0 : bytes;
    }

    /** The tensors must tile the data: no overlap, no hole, nothing missing, nothing left over. */
    private void checkLayout(Path file, long dataBytes) {
        long end = 0;
        Safetensors.Entry before = null;
        for (Safetensors.Entry entry : entries) {
            if (entry.begin() != end) {
                String place = before == null ? "the start of the data" : InputFiles.quoted(before.name());
                throw InputFiles.bad(file, "%stensor %s begins at %d, %s %s, which ends at %d".formatted(PART
                        + "is not valid: ", InputFiles.quoted(entry.name()), entry.begin(),
                        entry.begin() < end ? "inside" : "leaving a hole after", place, end), CURE);
            }
            end = entry.end();
            before = entry;
        }
        if (end > dataBytes) {
            throw InputFiles.bad(file, "is truncated: %,d of %,d data bytes are missing".formatted(
                    end - dataBytes, end), "download or copy it again");
        }
        if (end < dataBytes) {
            throw InputFiles.bad(file, "has %,d bytes after the last tensor".formatted(dataBytes - end), CURE);
        }
    }

    private static void expect(JsonParser in, JsonToken token, String what, String description) throws IOException {
        if (in.currentToken() != token) {
            throw new Json.JsonException(in,
                    "%s: expected %s, got %s".formatted(what, description, Json.describe(in)));
        }
    }
}
