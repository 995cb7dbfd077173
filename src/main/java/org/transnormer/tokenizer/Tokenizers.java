package org.transnormer.tokenizer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.transnormer.InputException;

/** Finds out which tokenizer a model folder has. */
public final class Tokenizers {
    static final String TOKENIZER_JSON = "tokenizer.json";
    private static final String CURE = "only the byte tokenizer is built in: encode the text elsewhere with the"
            + " checkpoint's own tokenizer and give token ids";

    private Tokenizers() {
    }

    /**
     * The tokenizer of a model folder.
     *
     * @throws InputException if there is none, or none that is supported; names the file and what it holds
     */
    public static Tokenizer load(Path modelFolder) {
        Path json = modelFolder.resolve(TOKENIZER_JSON);
        if (Files.exists(json)) {
            return fromJson(json);
        }
        Path sentencePiece = modelFolder.resolve("tokenizer.model");
        if (Files.exists(sentencePiece)) {
            throw unsupported(sentencePiece, "a SentencePiece model (released 385M, 1B and 7B checkpoints)", CURE);
        }
        Path merges = modelFolder.resolve("merges.txt");
        if (Files.exists(merges)) {
            throw unsupported(merges, "a byte-level BPE (ablation checkpoints)", CURE);
        }
        throw new InputException(modelFolder.toString(), Files.isDirectory(modelFolder)
                ? "there is no " + TOKENIZER_JSON : "there is no such folder",
                "copy the tokenizer files of the model beside its config.json, or give token ids");
    }

    private static Tokenizer fromJson(Path file) {
        JsonNode json;
        try {
            json = new ObjectMapper().readTree(file.toFile());
        } catch (IOException e) {
            throw new InputException(file.toString(), "not readable as JSON (" + reason(e) + ")",
                    "copy the file again from where the model came from", e);
        }
        if (ByteTokenizer.isDescribedBy(json)) {
            return new ByteTokenizer();
        }
        throw unsupported(file, "a %s with %d tokens".formatted(json.path("model").path("type").asText("tokenizer"),
                json.path("model").path("vocab").size()), CURE);
    }

    /** The message without the parser's second line, which only repeats the source. */
    private static String reason(IOException e) {
        return e instanceof JsonProcessingException j ? j.getOriginalMessage() : e.toString();
    }

    private static InputException unsupported(Path file, String what, String cure) {
        return new InputException(file.toString(), "holds " + what + ", which is not supported", cure);
    }
}
