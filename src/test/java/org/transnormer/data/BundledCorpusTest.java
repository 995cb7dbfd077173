package org.transnormer.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.tokenizer.ByteTokenizer;

class BundledCorpusTest {
    @TempDir
    Path folder;

    @Test
    void bothSidesAreThereAndApart() {
        TokenDataset.Split split = BundledCorpus.load(new ByteTokenizer());
        Set<String> train = ids(split.train());
        Set<String> heldOut = ids(split.heldOut());
        assertThat(train).isNotEmpty().doesNotContainAnyElementsOf(heldOut);
        assertThat(heldOut).isNotEmpty();
        assertThat(split.train().bytes()).isGreaterThan(split.heldOut().bytes());
        assertThat(BundledCorpus.digest()).matches("[0-9a-f]{64}");
    }

    @Test
    void freezingWritesWhatLoadingReads() throws IOException {
        for (int i = 0; i < 20; i++) {
            Files.writeString(folder.resolve("f" + i), "Text ü " + i + "\n");
        }
        List<String> paths = IntStream.range(0, 20).mapToObj(i -> "f" + i).toList();
        FreezeCorpus.freeze(folder, paths, folder.resolve("out"));
        String digest = Files.readString(folder.resolve("out").resolve(BundledCorpus.DIGEST)).strip();
        try (InputStream in = new GZIPInputStream(
                Files.newInputStream(folder.resolve("out").resolve(BundledCorpus.ARCHIVE)))) {
            byte[] lines = in.readAllBytes();
            String text = new String(lines, StandardCharsets.UTF_8);
            assertThat(text.lines()).hasSize(20).anyMatch(line -> line.equals(
                    "{\"path\":\"f3\",\"split\":\"train\",\"text\":\"Text ü 3\\n\"}")
                    || line.equals("{\"path\":\"f3\",\"split\":\"held-out\",\"text\":\"Text ü 3\\n\"}"));
            assertThat(text.lines().filter(line -> line.contains("\"split\":\"held-out\""))).hasSize(2);
            assertThat(HexFormat.of().formatHex(TokenDataset.sha256().digest(lines))).isEqualTo(digest);
        }
    }

    private static Set<String> ids(TokenDataset data) {
        return IntStream.range(0, data.documents()).mapToObj(data::id).collect(Collectors.toSet());
    }
}
