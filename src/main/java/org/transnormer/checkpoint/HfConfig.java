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
import org.transnormer.InputException;

/**
 * The keys of a {@code config.json} or another file that is one JSON object. Keys that nobody asks for are kept and
 * written back. Immutable. SPEC section 6.2.
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

    /** @throws InputException if the key has a value that is neither true nor false */
    public boolean flag(String key, boolean absent) {
        return switch (values.get(key)) {
            case null -> absent;
            case Boolean flag -> flag;
            default -> throw wrong(key, "true or false");
        };
    }

    /** The error about a key whose value will not do: the file, the value, what is needed. */
    public InputException wrong(String key, String needed) {
        return InputFiles.bad(file, "\"%s\" is %s, %s is needed".formatted(key,
                InputFiles.quoted(String.valueOf(values.get(key))), needed), "correct it");
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
