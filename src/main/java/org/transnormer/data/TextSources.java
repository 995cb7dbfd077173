package org.transnormer.data;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.transnormer.InputException;
import org.transnormer.tokenizer.Utf8;

/**
 * Reads documents from files and folders, in an order that depends on names only. SPEC section 6.4.
 *
 * <ul>
 * <li>A folder stands for the files below it, sorted by relative path; names that begin with a dot are left out.
 * <li>{@code .jsonl}: each line that is not blank is an object whose string {@code text} is a document.
 * <li>Any other file is one document. A byte order mark is dropped. Malformed UTF-8 is kept byte for byte, and counted.
 * <li>{@code .gz} after either: decompressed first.
 * <li>A file with a NUL byte is binary: skipped and counted in a folder, refused if it was named itself.
 * </ul>
 *
 * Ids are {@code path} or {@code path:line}, relative to the folder given; a file given itself goes by its name.
 */
public final class TextSources {
    private static final ObjectReader JSON = new ObjectMapper(JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder().maxStringLength(Integer.MAX_VALUE).build()).build())
            .readerFor(JsonNode.class);
    private static final byte[] BYTE_ORDER_MARK = {(byte) 0xef, (byte) 0xbb, (byte) 0xbf};

    private final Consumer<Document> sink;
    private long documents;
    private long bytes;
    private long empty;
    private long binary;
    private String firstBinary;
    private long malformed;
    private String firstMalformed;

    private TextSources(Consumer<Document> sink) {
        this.sink = sink;
    }

    /**
     * Passes every document to {@code sink}.
     *
     * @throws InputException if a path is missing or unreadable, a named file is binary, a JSON line is bad, or there
     *     is no text at all
     */
    public static ReadReport read(List<Path> paths, Consumer<Document> sink) {
        TextSources sources = new TextSources(sink);
        for (Path path : paths) {
            if (Files.isDirectory(path)) {
                sources.folder(path);
            } else if (Files.exists(path)) {
                sources.file(path, path.getFileName().toString(), true);
            } else {
                throw new InputException(path.toString(), "there is no such file or folder", "check the path");
            }
        }
        ReadReport report = new ReadReport(sources.documents, sources.bytes, sources.empty, sources.binary,
                sources.firstBinary, sources.malformed, sources.firstMalformed);
        if (report.documents() == 0) {
            throw new InputException(paths.stream().map(Path::toString).collect(Collectors.joining(", ")),
                    "holds no text" + String.join("", report.notices().stream()
                            .map(notice -> " (" + notice + ")").toList()),
                    "name text, .jsonl or .gz files or a folder of them");
        }
        return report;
    }

    private void folder(Path folder) {
        try (Stream<Path> walk = Files.walk(folder)) {
            walk.filter(Files::isRegularFile).map(folder::relativize).filter(path -> !isHidden(path))
                    .sorted(Comparator.comparing(TextSources::portable))
                    .forEachOrdered(path -> file(folder.resolve(path), portable(path), false));
        } catch (IOException e) {
            throw unreadable(folder, e);
        }
    }

    private void file(Path file, String id, boolean named) {
        String name = id.endsWith(".gz") ? id.substring(0, id.length() - 3) : id;
        try (InputStream raw = Files.newInputStream(file);
                InputStream in = name.equals(id) ? raw : new GZIPInputStream(new BufferedInputStream(raw, 1 << 16))) {
            if (name.endsWith(".jsonl")) {
                lines(file, id, in);
            } else {
                text(file, id, in.readAllBytes(), named);
            }
        } catch (IOException e) {
            throw unreadable(file, e);
        } catch (OutOfMemoryError e) {
            throw new InputException(file.toString(), "is too large to be one document (" + e.getMessage() + ")",
                    "cut it into documents, as files or as .jsonl lines, or raise the heap with -Xmx", e);
        }
    }

    private void text(Path file, String id, byte[] content, boolean named) {
        for (byte b : content) {
            if (b == 0) {
                if (named) {
                    throw new InputException(file.toString(), "is not text: it has a NUL byte",
                            "name text, .jsonl or .gz files or a folder of them");
                }
                firstBinary = binary++ == 0 ? id : firstBinary;
                return;
            }
        }
        deliver(id, startsWithMark(content) ? Arrays.copyOfRange(content, BYTE_ORDER_MARK.length, content.length)
                : content);
    }

    private void lines(Path file, String id, InputStream in) throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        byte[] buffer = new byte[1 << 16];
        long number = 1;
        for (int n = in.read(buffer); n > 0; n = in.read(buffer)) {
            int from = 0;
            for (int i = 0; i < n; i++) {
                if (buffer[i] == '\n') {
                    line.write(buffer, from, i - from);
                    line(file, id, number++, line.toByteArray());
                    line.reset();
                    from = i + 1;
                }
            }
            line.write(buffer, from, n - from);
        }
        line(file, id, number, line.toByteArray());
    }

    private void line(Path file, String id, long number, byte[] line) throws IOException {
        if (isBlank(line)) {
            return;
        }
        JsonNode text;
        try {
            text = ((JsonNode) JSON.readValue(line)).path("text");
        } catch (JsonProcessingException e) {
            throw badLine(file, number, "is not JSON (" + e.getOriginalMessage() + ")", e);
        }
        if (!text.isTextual()) {
            throw badLine(file, number, "has no string named \"text\"", null);
        }
        deliver(id + ":" + number, Utf8.bytes(text.textValue()));
    }

    private void deliver(String id, byte[] content) {
        if (content.length == 0) {
            empty++;
            return;
        }
        int at = Utf8.firstMalformed(content);
        if (at >= 0) {
            firstMalformed = malformed++ == 0 ? "%s at byte %,d".formatted(id, at) : firstMalformed;
        }
        documents++;
        bytes += content.length;
        sink.accept(new Document(id, content));
    }

    private static boolean isHidden(Path path) {
        for (Path name : path) {
            if (name.toString().startsWith(".")) {
                return true;
            }
        }
        return false;
    }

    private static String portable(Path path) {
        return path.toString().replace(path.getFileSystem().getSeparator(), "/");
    }

    private static boolean startsWithMark(byte[] content) {
        return content.length >= BYTE_ORDER_MARK.length && Arrays.equals(content, 0, BYTE_ORDER_MARK.length,
                BYTE_ORDER_MARK, 0, BYTE_ORDER_MARK.length);
    }

    private static boolean isBlank(byte[] line) {
        for (byte b : line) {
            if (b != ' ' && b != '\t' && b != '\r') {
                return false;
            }
        }
        return true;
    }

    private static InputException badLine(Path file, long number, String what, Throwable cause) {
        return new InputException(file + ":" + number, what,
                "every line of a .jsonl file is an object like {\"text\": \"...\"}", cause);
    }

    private static InputException unreadable(Path path, IOException e) {
        return new InputException(path.toString(), "cannot be read (" + e + ")",
                "check that it is complete and that you may read it", e);
    }
}
