package org.transnormer.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.transnormer.InputException;
import org.transnormer.tokenizer.Utf8;

/**
 * Strict JSON for files that other programs wrote: valid UTF-8, one value, no duplicate names, bounded nesting. Values
 * are Map (in file order), List, String, Boolean, null, Long and Double; an integer outside 64 bits or a number that is
 * not finite is refused. What is written depends on the value only.
 */
public final class Json {
    private static final int DEEPEST = 32;
    private static final String CURE = "get the file again from where it came from, or correct it";
    static final JsonFactory FACTORY = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(DEEPEST)
                    .maxNumberLength(100)
                    .maxNameLength(10_000)
                    .build())
            .build();

    /** Reads one value from a parser. */
    @FunctionalInterface
    interface Reading<T> {
        T from(JsonParser in) throws IOException;
    }

    private Json() {
    }

    /**
     * The JSON object that is the whole of a file.
     *
     * @param largest more bytes than this are refused before anything is read
     * @throws InputException if it is not there, too large or not such an object
     */
    public static Map<String, Object> readObject(Path file, long largest) {
        long size = InputFiles.size(file);
        if (size > largest) {
            throw InputFiles.bad(file, "has %,d bytes; at most %,d are read".formatted(size, largest), CURE);
        }
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(file);
        } catch (IOException e) {
            throw InputFiles.unreadable(file, e);
        }
        return parse(file, "", bytes, Json::object);
    }

    /**
     * Checks that bytes are one JSON value in UTF-8, and reads it.
     *
     * @param part which part of the file the bytes are, for messages: empty or ending in a blank
     */
    static <T> T parse(Path file, String part, byte[] bytes, Reading<T> reading) {
        int bad = Utf8.firstMalformed(bytes);
        if (bad >= 0) {
            throw InputFiles.bad(file, "%sis not valid UTF-8 at byte %d".formatted(part, bad), CURE);
        }
        try (JsonParser in = FACTORY
                .createParser(new InputStreamReader(new ByteArrayInputStream(bytes), StandardCharsets.UTF_8))) {
            in.nextToken();
            T value = reading.from(in);
            if (in.nextToken() != null) {
                throw new JsonException(in, "more text after the end of the JSON value");
            }
            return value;
        } catch (JsonProcessingException e) {
            long at = e.getLocation() == null ? -1 : e.getLocation().getCharOffset();
            throw InputFiles.bad(file, "%sis not valid JSON%s: %s".formatted(part,
                    at < 0 ? "" : " at character " + at, oneLine(e.getOriginalMessage())), CURE);
        } catch (IOException e) {
            throw InputFiles.unreadable(file, e);
        }
    }

    /** The object at the parser's current token. */
    static Map<String, Object> object(JsonParser in) throws IOException {
        if (in.currentToken() != JsonToken.START_OBJECT) {
            throw new JsonException(in, "expected an object, got " + describe(in));
        }
        Map<String, Object> map = new LinkedHashMap<>();
        while (in.nextToken() != JsonToken.END_OBJECT) {
            String name = in.currentName();
            in.nextToken();
            map.put(name, value(in));
        }
        return map;
    }

    /** The integer at the parser's current token. */
    static long integer(JsonParser in, String what) throws IOException {
        if (in.currentToken() != JsonToken.VALUE_NUMBER_INT) {
            throw new JsonException(in, "%s: expected an integer, got %s".formatted(what, describe(in)));
        }
        if (in.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
            throw new JsonException(in, "%s: %s does not fit 64 bits".formatted(what, in.getText()));
        }
        return in.getLongValue();
    }

    /** The string at the parser's current token. */
    static String string(JsonParser in, String what) throws IOException {
        if (in.currentToken() != JsonToken.VALUE_STRING) {
            throw new JsonException(in, "%s: expected a string, got %s".formatted(what, describe(in)));
        }
        return in.getText();
    }

    /** What stands at the parser's current token, for messages. */
    static String describe(JsonParser in) throws IOException {
        JsonToken token = in.currentToken();
        return switch (token) {
            case null -> "the end of the text";
            case START_OBJECT -> "an object";
            case START_ARRAY -> "a list";
            case VALUE_STRING -> "the string " + InputFiles.quoted(in.getText());
            default -> InputFiles.quoted(in.getText());
        };
    }

    /** Text of a value, indented, with a line end at its end. */
    static byte[] pretty(Object value) {
        DefaultIndenter indenter = new DefaultIndenter("  ", "\n");
        DefaultPrettyPrinter printer = new DefaultPrettyPrinter();
        printer.indentObjectsWith(indenter);
        return write(out -> {
            out.setPrettyPrinter(printer);
            put(out, value);
            out.writeRaw('\n');
        });
    }

    /** Text of a value without blanks. */
    static byte[] compact(Object value) {
        return write(out -> put(out, value));
    }

    /** Writes one value. */
    @FunctionalInterface
    interface Writing {
        void to(JsonGenerator out) throws IOException;
    }

    static byte[] write(Writing writing) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (JsonGenerator out = FACTORY.createGenerator(bytes)) {
            writing.to(out);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    static void put(JsonGenerator out, Object value) throws IOException {
        switch (value) {
            case null -> out.writeNull();
            case String s -> out.writeString(s);
            case Boolean b -> out.writeBoolean(b);
            case Integer i -> out.writeNumber(i);
            case Long l -> out.writeNumber(l);
            case Double d when Double.isFinite(d) -> out.writeNumber(d);
            case List<?> list -> {
                out.writeStartArray();
                for (Object entry : list) {
                    put(out, entry);
                }
                out.writeEndArray();
            }
            case Map<?, ?> map -> {
                out.writeStartObject();
                for (Map.Entry<?, ?> entry : map.entrySet()) {
                    out.writeFieldName((String) entry.getKey());
                    put(out, entry.getValue());
                }
                out.writeEndObject();
            }
            default -> throw new IllegalArgumentException("no JSON for %s (%s)".formatted(value, value.getClass()));
        }
    }

    private static Object value(JsonParser in) throws IOException {
        return switch (in.currentToken()) {
            case START_OBJECT -> object(in);
            case START_ARRAY -> {
                List<Object> list = new ArrayList<>();
                while (in.nextToken() != JsonToken.END_ARRAY) {
                    list.add(value(in));
                }
                yield list;
            }
            case VALUE_STRING -> in.getText();
            case VALUE_TRUE -> true;
            case VALUE_FALSE -> false;
            case VALUE_NULL -> null;
            case VALUE_NUMBER_INT -> integer(in, "number");
            case VALUE_NUMBER_FLOAT -> {
                double number = in.getDoubleValue();
                if (!Double.isFinite(number)) {
                    throw new JsonException(in, in.getText() + " is too large");
                }
                yield number;
            }
            default -> throw new JsonException(in, "unexpected " + describe(in));
        };
    }

    private static String oneLine(String text) {
        return text.replaceAll("\\s*\\R\\s*", " ");
    }

    /** A value of the wrong kind, reported like a syntax error. */
    static final class JsonException extends JsonProcessingException {
        private static final long serialVersionUID = 1L;

        JsonException(JsonParser in, String what) {
            super(what, in.currentTokenLocation());
        }
    }
}
