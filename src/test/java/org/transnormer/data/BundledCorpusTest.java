package org.transnormer.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
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
        Files.writeString(folder.resolve("empty"), "");
        Path out = folder.resolve("out");
        FreezeCorpus.freeze(folder, Stream.concat(Stream.of("empty"), IntStream.range(0, 20).mapToObj(i -> "f" + i))
                .toList(), out);
        String digest = Files.readString(out.resolve(BundledCorpus.DIGEST)).strip();
        TokenDataset.Split split = load(out, digest);
        Set<String> all = new HashSet<>(ids(split.train()));
        all.addAll(ids(split.heldOut()));
        assertThat(all).hasSize(20).contains("f0", "f19");
        assertThat(split.heldOut().documents()).isEqualTo(2);
        assertThat(split.train().bytes() + split.heldOut().bytes()).isEqualTo(10 * 10 + 10 * 11);
        assertThatThrownBy(() -> load(out, digest.replace(digest.charAt(0), '#')))
                .isInstanceOf(IllegalStateException.class).hasMessageContainingAll(digest, "damaged");
    }

    private static TokenDataset.Split load(Path folder, String digest) throws IOException {
        try (InputStream in = Files.newInputStream(folder.resolve(BundledCorpus.ARCHIVE))) {
            return BundledCorpus.load(new ByteTokenizer(), in, digest);
        }
    }

    private static Set<String> ids(TokenDataset data) {
        return IntStream.range(0, data.documents()).mapToObj(data::id).collect(Collectors.toSet());
    }
}
