package org.transnormer.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.zip.GZIPInputStream;
import org.transnormer.tokenizer.Tokenizer;
import org.transnormer.tokenizer.Utf8;

/**
 * The text that comes with the program, so that training and evaluation need no download: a frozen snapshot of this
 * project's own documents and sources, one line of JSON for each file with its {@code path}, {@code text} and
 * {@code split}. Its sides are frozen too, so a bits-per-byte figure on it means the same everywhere. SPEC section 6.4.
 */
public final class BundledCorpus {
    static final String ARCHIVE = "corpus.jsonl.gz";
    static final String DIGEST = "corpus.sha256";
    static final String TRAIN = "train";
    static final String HELD_OUT = "held-out";

    private BundledCorpus() {
    }

    /**
     * Both sides, tokenised.
     *
     * @throws IllegalStateException if the archive is missing or is not the one that its digest names
     */
    public static TokenDataset.Split load(Tokenizer tokenizer) {
        try (InputStream archive = resource(ARCHIVE)) {
            return load(tokenizer, archive, digest());
        } catch (IOException e) {
            throw damaged(e.toString());
        }
    }

    /** SHA-256, in hex, of the decompressed archive: the same whatever wrote the compressed one. */
    public static String digest() {
        try (InputStream in = resource(DIGEST)) {
            return new String(in.readAllBytes(), StandardCharsets.US_ASCII).strip();
        } catch (IOException e) {
            throw damaged(e.toString());
        }
    }

    static TokenDataset.Split load(Tokenizer tokenizer, InputStream archive, String digest) throws IOException {
        byte[] lines = new GZIPInputStream(archive).readAllBytes();
        String got = HexFormat.of().formatHex(TokenDataset.sha256().digest(lines));
        if (!got.equals(digest)) {
            throw damaged("its SHA-256 is %s, want %s".formatted(got, digest));
        }
        List<Document> train = new ArrayList<>();
        List<Document> heldOut = new ArrayList<>();
        ObjectMapper json = new ObjectMapper();
        for (String line : new String(lines, StandardCharsets.UTF_8).split("\n")) {
            JsonNode record = json.readTree(line);
            List<Document> side = record.path("split").textValue().equals(HELD_OUT) ? heldOut : train;
            side.add(new Document(record.path("path").textValue(), Utf8.bytes(record.path("text").textValue())));
        }
        return new TokenDataset.Split(TokenDataset.of(tokenizer, train), TokenDataset.of(tokenizer, heldOut));
    }

    private static InputStream resource(String name) throws FileNotFoundException {
        InputStream in = BundledCorpus.class.getResourceAsStream(name);
        if (in == null) {
            throw new FileNotFoundException("no resource " + name);
        }
        return in;
    }

    private static IllegalStateException damaged(String why) {
        return new IllegalStateException("the bundled corpus is damaged (" + why + "); install the program again");
    }
}
