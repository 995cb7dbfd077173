package org.transnormer.checkpoint;

import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.eclipse.collections.api.factory.primitive.LongLists;
import org.eclipse.collections.api.list.primitive.ImmutableLongList;
import org.eclipse.collections.api.list.primitive.MutableLongList;
import org.transnormer.InputException;

/**
 * The keys of a {@code config.json}, typed access with messages that name file and key. A key whose value is null counts
 * as absent. Keys that nobody asks for are kept and written back. Immutable. SPEC section 6.2.
 */
public final class HfConfig {
    private static final long LARGEST = 16 << 20;

    private final Path file;
    private final Map<String, Object> values;

    private HfConfig(Path file, Map<String, Object> values) {
        this.file = file;
        this.values = Collections.unmodifiableMap(values);
    }

    /**
     * Reads a file.
     *
     * @throws InputException if it is not one JSON object
     */
    public static HfConfig read(Path file) {
        return new HfConfig(file, Json.readObject(file, LARGEST));
    }

    /** @param values strings, booleans, whole numbers, finite doubles, null, and lists and maps of them */
    public static HfConfig of(Map<String, ?> values) {
        return new HfConfig(Path.of(HfNames.CONFIG), new LinkedHashMap<>(values));
    }

    /** A copy with one key set. */
    public HfConfig with(String key, Object value) {
        Map<String, Object> changed = new LinkedHashMap<>(values);
        changed.put(key, value);
        return new HfConfig(file, changed);
    }

    /** The file it was read from; its plain name if it was not. */
    public Path file() {
        return file;
    }

    /** Everything, in the order of the file; integers are Long where they were read. */
    public Map<String, Object> values() {
        return values;
    }

    /** Whether the key has a value that is not null. */
    public boolean has(String key) {
        return values.get(key) != null;
    }

    /** @throws InputException if the key is absent or no whole number of 32 bits */
    public int integer(String key) {
        long value = require(key, "a whole number") instanceof Number n && whole(n) ? n.longValue() : Long.MIN_VALUE;
        if (value != (int) value) {
            throw wrong(key, "a whole number of 32 bits");
        }
        return (int) value;
    }

    public int integer(String key, int absent) {
        return has(key) ? integer(key) : absent;
    }

    /** @throws InputException if the key is absent or no number */
    public double number(String key) {
        if (require(key, "a number") instanceof Number n) {
            return n.doubleValue();
        }
        throw wrong(key, "a number");
    }

    public double number(String key, double absent) {
        return has(key) ? number(key) : absent;
    }

    /** @throws InputException if the key is absent or no string */
    public String text(String key) {
        if (require(key, "a string") instanceof String s) {
            return s;
        }
        throw wrong(key, "a string");
    }

    public String text(String key, String absent) {
        return has(key) ? text(key) : absent;
    }

    /** @throws InputException if the key is absent or neither true nor false */
    public boolean flag(String key) {
        if (require(key, "true or false") instanceof Boolean b) {
            return b;
        }
        throw wrong(key, "true or false");
    }

    public boolean flag(String key, boolean absent) {
        return has(key) ? flag(key) : absent;
    }

    /** @throws InputException if the key is absent or no list of whole numbers; true counts as 1, false as 0 */
    public ImmutableLongList integers(String key) {
        if (!(require(key, "a list of whole numbers") instanceof List<?> list)) {
            throw wrong(key, "a list of whole numbers");
        }
        MutableLongList numbers = LongLists.mutable.empty();
        for (Object entry : list) {
            switch (entry) {
                case Boolean b -> numbers.add(b ? 1 : 0);
                case Number n when whole(n) -> numbers.add(n.longValue());
                case null, default -> throw wrong(key, "a list of whole numbers");
            }
        }
        return numbers.toImmutable();
    }

    /** An error about a key, for a value that is well typed but makes no sense. */
    public InputException wrong(String key, String wanted) {
        return InputFiles.bad(file, "\"%s\" is %s, %s is needed".formatted(key, shown(values.get(key)), wanted),
                "correct it");
    }

    /** SHA-256 of the values, whatever their order: equal for equal configurations. */
    public String digest() {
        try {
            byte[] canonical = Json.compact(sorted(values));
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(canonical));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** Writes the file. */
    public void write(Path to) {
        AtomicFiles.write(to, Json.pretty(values));
    }

    private Object require(String key, String wanted) {
        if (!has(key)) {
            throw InputFiles.bad(file, "has no \"%s\", %s is needed".formatted(key, wanted), "add it");
        }
        return values.get(key);
    }

    private static String shown(Object value) {
        return value instanceof String s ? InputFiles.quoted(s) : InputFiles.quoted(String.valueOf(value));
    }

    private static boolean whole(Number n) {
        return n instanceof Long || n instanceof Integer;
    }

    private static Object sorted(Object value) {
        return switch (value) {
            case Map<?, ?> map -> {
                Map<String, Object> copy = new TreeMap<>();
                map.forEach((key, entry) -> copy.put((String) key, sorted(entry)));
                yield copy;
            }
            case List<?> list -> list.stream().map(HfConfig::sorted).toList();
            case null, default -> value;
        };
    }
}
