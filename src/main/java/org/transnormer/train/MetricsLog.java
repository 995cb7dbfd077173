package org.transnormer.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;
import org.transnormer.plot.Curve;

/**
 * What a run measured, one JSON object a line: {@code {"step":12,"loss":2.31,...}}. Steps never fall from one line to
 * the next; a step may have several lines, one of training and one of an evaluation. A line is handed to the system as
 * a whole, so a killed run loses at most the line it was writing, and a last line without its end is no line. Values
 * that are not finite are the strings "NaN", "Infinity" and "-Infinity". SPEC section 6.4.
 */
public final class MetricsLog implements AutoCloseable {
    /** Mean loss of a step's targets, nats. */
    public static final String LOSS = "loss";
    /** Mean loss over the held-out text, nats. */
    public static final String HELD_OUT_LOSS = "held_out_loss";
    public static final String LEARNING_RATE = "learning_rate";
    public static final String GRADIENT_NORM = "gradient_norm";
    private static final String STEP = "step";
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Path file;
    private final FileChannel channel;
    private long lastStep;

    private MetricsLog(Path file, FileChannel channel, long lastStep) {
        this.file = file;
        this.channel = channel;
        this.lastStep = lastStep;
    }

    /**
     * Opens a log to go on after a step: lines of later steps, which will be run again, and an unfinished last line are
     * cut off. A file that is not there is made.
     *
     * @param lastStep the last step whose lines stay; 0 for a new run
     * @throws InputException if the file is not such a log, naming file and line
     */
    public static MetricsLog open(Path file, long lastStep) throws IOException {
        long keep = 0;
        try {
            keep = scan(file, Files.readAllBytes(file), lastStep, new ArrayList<>());
        } catch (NoSuchFileException e) {
            Files.createDirectories(file.toAbsolutePath().getParent());
        }
        FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        channel.truncate(keep).position(keep);
        return new MetricsLog(file, channel, lastStep);
    }

    /** A line to be filled with values and given to {@link #write}. */
    public static ObjectNode line(long step) {
        return JsonNodeFactory.instance.objectNode().put(STEP, step);
    }

    /**
     * Appends a line; it is with the operating system when this returns.
     *
     * @throws EnvironmentException if it cannot be written, because the disk is full, say
     */
    public void write(ObjectNode line) {
        long step = line.get(STEP).longValue();
        if (step < lastStep) {
            throw new IllegalArgumentException("step %d after step %d".formatted(step, lastStep));
        }
        lastStep = step;
        ByteBuffer bytes = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
        try {
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
        } catch (IOException e) {
            throw new EnvironmentException("%s: cannot be written: %s".formatted(file, e.getMessage()),
                    "the checkpoints saved before are unchanged: make room, then go on with --resume", e);
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }

    /**
     * All lines of a log, which may still be written to.
     *
     * @throws InputException if a finished line is not an object with a step, naming file and line
     */
    public static List<JsonNode> read(Path file) throws IOException {
        List<JsonNode> lines = new ArrayList<>();
        scan(file, Files.readAllBytes(file), Long.MAX_VALUE, lines);
        return lines;
    }

    /** The values of one name over the steps that have it. */
    public static Curve curve(List<JsonNode> lines, String name) {
        List<JsonNode> with = lines.stream().filter(line -> line.has(name)).toList();
        return new Curve(with.stream().mapToDouble(line -> line.get(STEP).doubleValue()).toArray(),
                with.stream().mapToDouble(line -> number(line.get(name))).toArray());
    }

    /** Collects the lines up to a step; the length in bytes of what these and those before them take. */
    private static long scan(Path file, byte[] bytes, long lastStep, List<JsonNode> lines) {
        int from = 0;
        for (int at = 0; at < bytes.length; at++) {
            if (bytes[at] == '\n') {
                JsonNode line = parse(file, lines.size() + 1, Arrays.copyOfRange(bytes, from, at));
                if (line.get(STEP).longValue() > lastStep) {
                    return from;
                }
                lines.add(line);
                from = at + 1;
            }
        }
        return from;
    }

    private static JsonNode parse(Path file, int number, byte[] bytes) {
        try {
            JsonNode line = JSON.readTree(bytes);
            if (line.path(STEP).isIntegralNumber()) {
                return line;
            }
            throw notALine(file, number, "has no whole number named \"step\"", null);
        } catch (JsonProcessingException e) {
            throw notALine(file, number, "is not JSON (" + e.getOriginalMessage() + ")", e);
        } catch (IOException e) {
            throw new IllegalStateException("reading from an array cannot fail", e);
        }
    }

    private static InputException notALine(Path file, int number, String what, Throwable cause) {
        return new InputException(file + ":" + number, what,
                "this is not a log of metrics, or it was damaged: move it away", cause);
    }

    private static double number(JsonNode value) {
        return value.isNumber() ? value.doubleValue() : Double.parseDouble(value.asText());
    }
}
