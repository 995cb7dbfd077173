package org.transnormer.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.InputException;
import org.transnormer.tokenizer.ByteTokenizer;

class TextSourcesTest {
    @TempDir
    Path folder;
    private final List<Document> documents = new ArrayList<>();

    @Test
    void aFolderIsReadInTheOrderOfItsPathsWithoutHiddenFiles() throws IOException {
        for (String name : List.of("b.txt", "a/z.md", "a/.hidden", ".git/config", "a.txt", "a/b/c")) {
            write(name, name.getBytes(StandardCharsets.UTF_8));
        }
        ReadReport report = read(folder);
        assertThat(texts()).containsExactly("a.txt=a.txt", "a/b/c=a/b/c", "a/z.md=a/z.md", "b.txt=b.txt");
        assertThat(report.documents()).isEqualTo(4);
        assertThat(report.bytes()).isEqualTo(5 + 5 + 6 + 5);
        assertThat(report.notices()).isEmpty();
    }

    @Test
    void pathsKeepTheOrderGivenAndHiddenFilesMayBeNamed() throws IOException {
        write("b.txt", bytes("B"));
        write(".a", bytes("A"));
        read(folder.resolve("b.txt"), folder.resolve(".a"));
        assertThat(texts()).containsExactly("b.txt=B", ".a=A");
    }

    @Test
    void eachJsonLineIsADocument() throws IOException {
        write("x.jsonl", bytes("{\"text\":\"eins\\n\"}\r\n\n  \n{\"id\":4,\"text\":\"zwei \\u00fc\"}"));
        read(folder);
        assertThat(texts()).containsExactly("x.jsonl:1=eins\n", "x.jsonl:4=zwei ü");
    }

    @Test
    void jsonLinesMayBeLongerThanAnyBuffer() throws IOException {
        String huge = "ä".repeat(21_000_000);
        write("x.jsonl", bytes("{\"text\":\"" + huge + "\"}\n{\"text\":\"b\"}\n"));
        read(folder);
        assertThat(documents).hasSize(2);
        assertThat(documents.getFirst().bytes()).isEqualTo(bytes(huge));
    }

    @Test
    void badJsonLinesAreNamedWithTheirNumber() throws IOException {
        write("x.jsonl", bytes("{\"text\":\"a\"}\n{\"text\":\n"));
        refused("x.jsonl:2: is not JSON", "{\"text\": \"...\"}");
        write("x.jsonl", bytes("\n{\"txt\":\"a\"}"));
        refused("x.jsonl:2: has no string named \"text\"");
        write("x.jsonl", bytes("{\"text\":3}"));
        refused("x.jsonl:1: has no string named \"text\"");
        write("x.jsonl", bytes("\"text\""));
        refused("x.jsonl:1: has no string named \"text\"");
        write("x.jsonl", new byte[] {'"', (byte) 0xff, '"'});
        refused("x.jsonl:1: is not JSON");
    }

    @Test
    void compressedFilesAreReadAsWhatTheyHold() throws IOException {
        write("a.txt.gz", gzip(bytes("Text")));
        write("b.jsonl.gz", gzip(bytes("{\"text\":\"Zeile\"}\n")));
        ByteArrayOutputStream twoMembers = new ByteArrayOutputStream();
        twoMembers.write(gzip(bytes("one ")));
        twoMembers.write(gzip(bytes("two")));
        write("c.gz", twoMembers.toByteArray());
        read(folder);
        assertThat(texts()).containsExactly("a.txt.gz=Text", "b.jsonl.gz:1=Zeile", "c.gz=one two");
    }

    @Test
    void aTruncatedOrFalseArchiveIsNamed() throws IOException {
        byte[] whole = gzip(bytes("some text that does not fit into the header"));
        write("a.gz", Arrays.copyOf(whole, whole.length - 9));
        refused("a.gz", "cannot be read", "complete");
        write("a.gz", bytes("plain"));
        refused("a.gz", "cannot be read");
    }

    @Test
    void binaryFilesAreSkippedInAFolderAndRefusedByName() throws IOException {
        write("a.bin", new byte[] {'P', 'K', 0, 1});
        write("b.bin", new byte[] {0});
        write("t.txt", bytes("t"));
        ReadReport report = read(folder);
        assertThat(texts()).containsExactly("t.txt=t");
        assertThat(report.notices()).containsExactly("binary files skipped: 2, the first a.bin");
        assertThatThrownBy(() -> read(folder.resolve("a.bin"))).isInstanceOf(InputException.class)
                .hasMessageContainingAll("a.bin", "not text");
    }

    @Test
    void malformedTextIsKeptAndCountedEmptyTextIsSkippedAndAMarkIsDropped() throws IOException {
        write("a", new byte[] {'a', (byte) 0xe4, 'b'});
        write("b", new byte[0]);
        write("c", new byte[] {(byte) 0xef, (byte) 0xbb, (byte) 0xbf, 'c'});
        write("d.jsonl", bytes("\uFEFF{\"text\":\"\"}\n{\"text\":\"\\ud800\"}"));
        ReadReport report = read(folder);
        assertThat(documents).extracting(Document::bytes).containsExactly(new byte[] {'a', (byte) 0xe4, 'b'},
                bytes("c"), bytes("\uFFFD"));
        assertThat(report.notices()).containsExactly("empty texts skipped: 2",
                "texts that are not well-formed UTF-8, taken as they are: 1, the first a at byte 1");
    }

    @Test
    void nothingToReadIsRefused() throws IOException {
        assertThatThrownBy(() -> read(folder.resolve("none"))).isInstanceOf(InputException.class)
                .hasMessageContainingAll("none", "no such file or folder");
        refused("holds no text");
        assertThatThrownBy(() -> read(folder, folder)).hasMessageStartingWith("%s, %s: holds no text".formatted(folder,
                folder));
        write("a.bin", new byte[1]);
        refused("holds no text (binary files skipped: 1, the first a.bin)");
        write("e", new byte[0]);
        assertThatThrownBy(() -> read(folder.resolve("e"))).isInstanceOf(InputException.class);
    }

    @Test
    void readingATreeMakesADataset() throws IOException {
        write("a", bytes("ab"));
        TokenDataset.Loaded loaded = TokenDataset.read(new ByteTokenizer(), List.of(folder));
        assertThat(loaded.data().pairs()).isEqualTo(3);
        assertThat(loaded.report().documents()).isEqualTo(1);
    }

    private ReadReport read(Path... paths) {
        documents.clear();
        return TextSources.read(List.of(paths), documents::add);
    }

    private void refused(String... parts) {
        assertThatThrownBy(() -> read(folder)).isInstanceOf(InputException.class).hasMessageContainingAll(parts);
    }

    private List<String> texts() {
        return documents.stream().map(d -> d.id() + "=" + new String(d.bytes(), StandardCharsets.UTF_8)).toList();
    }

    private void write(String name, byte[] content) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(file.getParent());
        Files.write(file, content);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] gzip(byte[] content) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
            gzip.write(content);
        }
        return out.toByteArray();
    }
}
