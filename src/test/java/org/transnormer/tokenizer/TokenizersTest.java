package org.transnormer.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;

class TokenizersTest {
    @TempDir
    Path folder;

    @Test
    void aSavedByteTokenizerIsLoadedAgain() {
        Path model = folder.resolve("a/b");
        new ByteTokenizer().save(model);
        assertThat(Tokenizers.load(model)).isInstanceOf(ByteTokenizer.class);
    }

    @Test
    void aFolderThatCannotBeWrittenIsTheMachinesFault() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "in the way");
        assertThatThrownBy(() -> new ByteTokenizer().save(file)).isInstanceOf(EnvironmentException.class)
                .hasMessageContaining("tokenizer.json");
    }

    @Test
    void anotherVocabularyIsNotTakenForTheByteTokenizer() throws IOException {
        new ByteTokenizer().save(folder);
        Path json = folder.resolve("tokenizer.json");
        String text = Files.readString(json);
        Files.writeString(json, text.replace("\"<0x41>\" : 68", "\"<0x41>\" : 69"));
        refused("tokenizer.json", "BPE with 259 tokens", "token ids");
        Files.writeString(json, text.replace("\"merges\" : [ ]", "\"merges\" : [ \"a b\" ]"));
        refused("tokenizer.json", "BPE with 259 tokens", "token ids");
        Files.writeString(json, text.replace("\"byte_fallback\" : true", "\"byte_fallback\" : false"));
        refused("tokenizer.json", "BPE with 259 tokens", "token ids");
    }

    @Test
    void unsupportedOnesAreNamed() throws IOException {
        Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\n");
        refused("merges.txt", "BPE", "token ids");
        Files.write(folder.resolve("tokenizer.model"), new byte[] {10, 5});
        refused("tokenizer.model", "SentencePiece", "token ids");
    }

    @Test
    void brokenOrMissingFilesAreNamed() throws IOException {
        refused(folder.toString(), "there is no tokenizer.json", "copy");
        assertThatThrownBy(() -> Tokenizers.load(folder.resolve("none"))).isInstanceOf(InputException.class)
                .hasMessageContaining("no such folder");
        Files.writeString(folder.resolve("tokenizer.json"), "{\"model\":");
        refused("tokenizer.json", "not readable as JSON", "copy");
    }

    private void refused(String... parts) {
        assertThatThrownBy(() -> Tokenizers.load(folder)).isInstanceOf(InputException.class)
                .hasMessageContainingAll(parts).message().doesNotContain("\n");
    }
}
