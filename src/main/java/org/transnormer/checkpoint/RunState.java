package org.transnormer.checkpoint;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.transnormer.InputException;

/**
 * Where a training run stands: what {@code state.json} holds besides the tensors. The maps hold strings, booleans, whole
 * numbers, finite doubles, null, and lists and maps of them; they come back equal, whole numbers as Long. SPEC section
 * 6.3.
 *
 * @param step optimizer steps made
 * @param tokens tokens seen
 * @param seed of the run
 * @param configDigest of the run's configuration, so that a resume under another one is noticed
 * @param data position in the data
 * @param schedule learning rate schedule
 * @param random random counters that are not a function of seed and step
 * @param versions of the program and of what computes
 */
public record RunState(long step, long tokens, long seed, String configDigest, Map<String, Object> data,
        Map<String, Object> schedule, Map<String, Object> random, Map<String, Object> versions) {
    static final String FILE = "state.json";
    private static final String FINGERPRINTS = "fingerprints";
    private static final long FORMAT = 1;
    private static final long LARGEST = 16 << 20;
    private static final String CURE = "resume from another checkpoint";

    /**
     * What the file holds.
     *
     * @param files sizes of the checkpoint's files by name
     * @param fingerprints of those that hold tensors, in hexadecimal; none in checkpoints made before there were any
     */
    record Stored(RunState state, Map<String, Object> files, Map<String, Object> fingerprints) {
    }

    void write(Path folder, Map<String, Object> files, Map<String, Object> fingerprints) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("format", FORMAT);
        json.put("step", step);
        json.put("tokens", tokens);
        json.put("seed", seed);
        json.put("config_digest", configDigest);
        json.put("data", data);
        json.put("schedule", schedule);
        json.put("random", random);
        json.put("versions", versions);
        json.put("files", files);
        json.put(FINGERPRINTS, fingerprints);
        AtomicFiles.write(folder.resolve(FILE), Json.pretty(json));
    }

    /** @throws InputException if the file is not there or not as {@link #write} makes it */
    static Stored read(Path folder) {
        Path file = folder.resolve(FILE);
        Map<String, Object> json = Json.readObject(file, LARGEST);
        long format = number(file, json, "format");
        if (format != FORMAT) {
            throw InputFiles.bad(file, "has format %d, this program reads %d".formatted(format, FORMAT),
                    "use the program that wrote it");
        }
        if (!(json.get("config_digest") instanceof String digest)) {
            throw InputFiles.bad(file, "has no \"config_digest\"", CURE);
        }
        RunState state = new RunState(number(file, json, "step"), number(file, json, "tokens"),
                number(file, json, "seed"), digest, map(file, json, "data"), map(file, json, "schedule"),
                map(file, json, "random"), map(file, json, "versions"));
        return new Stored(state, map(file, json, "files"),
                json.containsKey(FINGERPRINTS) ? map(file, json, FINGERPRINTS) : Map.of());
    }

    private static long number(Path file, Map<String, Object> json, String key) {
        if (json.get(key) instanceof Long number) {
            return number;
        }
        throw InputFiles.bad(file, "has no whole number \"%s\"".formatted(key), CURE);
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(Path file, Map<String, Object> json, String key) {
        if (json.get(key) instanceof Map<?, ?> map) {
            return (Map<String, Object>) map;
        }
        throw InputFiles.bad(file, "has no object \"%s\"".formatted(key), CURE);
    }
}
