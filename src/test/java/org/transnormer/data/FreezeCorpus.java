package org.transnormer.data;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.GZIPOutputStream;
import org.transnormer.tokenizer.ByteTokenizer;

/**
 * Writes the archive of {@link BundledCorpus} and its digest. Run in the repository root with the test class path; the
 * files come from standard input, one relative path a line, and are taken in sorted order:
 *
 * <pre>
 * git ls-files '*.java' '*.md' '*.py' '*.cu' '*.cuh' | java org.transnormer.data.FreezeCorpus src/main/resources
 * </pre>
 *
 * One file in ten is held out; which ones follows from the paths alone ({@link TokenDataset#split} with seed 0).
 */
final class FreezeCorpus {
    private static final double HELD_OUT_FRACTION = 0.1;

    private FreezeCorpus() {
    }

    public static void main(String[] args) throws IOException {
        List<String> paths;
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            paths = in.lines().filter(line -> !line.isBlank()).sorted().toList();
        }
        Path folder = Path.of(args[0]).resolve(FreezeCorpus.class.getPackageName().replace('.', '/'));
        System.out.println(freeze(Path.of(""), paths, folder));
    }

    static String freeze(Path root, List<String> paths, Path folder) throws IOException {
        List<Document> documents = new ArrayList<>();
        for (String path : paths) {
            byte[] text = Files.readAllBytes(root.resolve(path));
            if (text.length > 0) {
                documents.add(new Document(path, text));
            }
        }
        TokenDataset heldOut = TokenDataset.of(new ByteTokenizer(), documents).split(HELD_OUT_FRACTION, 0).heldOut();
        Set<String> held = IntStream.range(0, heldOut.documents()).mapToObj(heldOut::id)
                .collect(Collectors.toSet());
        byte[] lines = documents.stream().map(document -> line(document, held.contains(document.id())))
                .collect(Collectors.joining()).getBytes(StandardCharsets.UTF_8);
        Files.createDirectories(folder);
        try (OutputStream file = Files.newOutputStream(folder.resolve(BundledCorpus.ARCHIVE));
                GZIPOutputStream out = new GZIPOutputStream(file)) {
            out.write(lines);
        }
        Files.writeString(folder.resolve(BundledCorpus.DIGEST),
                HexFormat.of().formatHex(TokenDataset.sha256().digest(lines)) + "\n");
        return "%,d files, %,d held out, %,d bytes of JSON".formatted(documents.size(), held.size(), lines.length);
    }

    private static String line(Document document, boolean held) {
        return new ObjectMapper().createObjectNode().put("path", document.id())
                .put("split", held ? BundledCorpus.HELD_OUT : BundledCorpus.TRAIN)
                .put("text", new String(document.bytes(), StandardCharsets.UTF_8)) + "\n";
    }
}
