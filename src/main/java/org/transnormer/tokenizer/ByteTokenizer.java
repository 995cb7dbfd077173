package org.transnormer.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.eclipse.collections.api.block.procedure.primitive.IntProcedure;
import org.eclipse.collections.api.list.primitive.IntList;
import org.eclipse.collections.api.list.primitive.MutableIntList;
import org.eclipse.collections.impl.factory.primitive.IntLists;
import org.transnormer.EnvironmentException;

/**
 * One token per byte of UTF-8: id = byte + 3, after padding 0, beginning 1 and end of a document 2, the ids that the
 * released configuration gives these; 259 ids. It needs no training, loses nothing, and encodes any bytes, malformed
 * UTF-8 too.
 *
 * <p>Its {@code tokenizer.json} is in the usual format of model folders: a BPE without merges that falls back to
 * bytes, which describes exactly this function, so that other programs can load it.
 */
public final class ByteTokenizer implements Tokenizer {
    private static final String[] SPECIAL = {"<pad>", "<s>", "</s>"};
    private static final int PAD = 0;
    private static final int BOS = 1;
    private static final int EOS = 2;
    private static final int FIRST_BYTE = SPECIAL.length;
    private static final int SIZE = FIRST_BYTE + 256;

    @Override
    public String name() {
        return "byte";
    }

    @Override
    public int vocabularySize() {
        return SIZE;
    }

    @Override
    public int padId() {
        return PAD;
    }

    @Override
    public int bosId() {
        return BOS;
    }

    @Override
    public int eosId() {
        return EOS;
    }

    @Override
    public IntList encode(String text) {
        byte[] utf8 = Utf8.bytes(text);
        MutableIntList ids = IntLists.mutable.withInitialCapacity(utf8.length);
        encode(utf8, ids::add);
        return ids;
    }

    @Override
    public void encode(byte[] utf8, IntProcedure sink) {
        for (byte b : utf8) {
            sink.value((b & 0xff) + FIRST_BYTE);
        }
    }

    @Override
    public int byteCount(int id) {
        return id < FIRST_BYTE ? 0 : 1;
    }

    @Override
    public TokenDecoder decoder() {
        return new Decoder();
    }

    @Override
    public void save(Path modelFolder) {
        Path file = modelFolder.resolve(Tokenizers.TOKENIZER_JSON);
        try {
            Files.createDirectories(modelFolder);
            Files.writeString(file, new ObjectMapper().writerWithDefaultPrettyPrinter()
                    .writeValueAsString(description()) + "\n");
        } catch (IOException e) {
            throw new EnvironmentException(file + " cannot be written (" + e + ")",
                    "make room, or choose a folder that you may write to", e);
        }
    }

    /** True if a {@code tokenizer.json} describes this tokenizer, whatever else it may say about settings. */
    static boolean isDescribedBy(JsonNode json) {
        JsonNode model = json.path("model");
        return model.path("byte_fallback").asBoolean() && model.path("merges").isEmpty()
                && model.path("vocab").equals(description().path("model").path("vocab"));
    }

    private static ObjectNode description() {
        ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.put("version", "1.0");
        root.putNull("truncation").putNull("padding");
        ArrayNode added = root.putArray("added_tokens");
        ObjectNode vocabulary = JsonNodeFactory.instance.objectNode();
        for (int id = 0; id < SPECIAL.length; id++) {
            vocabulary.put(SPECIAL[id], id);
            added.addObject().put("id", id).put("content", SPECIAL[id]).put("single_word", false).put("lstrip", false)
                    .put("rstrip", false).put("normalized", false).put("special", true);
        }
        for (int b = 0; b < 256; b++) {
            vocabulary.put("<0x%02X>".formatted(b), FIRST_BYTE + b);
        }
        root.putNull("normalizer").putNull("pre_tokenizer").putNull("post_processor");
        ObjectNode decoder = root.putObject("decoder").put("type", "Sequence");
        decoder.putArray("decoders").add(JsonNodeFactory.instance.objectNode().put("type", "ByteFallback"))
                .add(JsonNodeFactory.instance.objectNode().put("type", "Fuse"));
        ObjectNode model = root.putObject("model").put("type", "BPE");
        model.putNull("dropout").putNull("unk_token").putNull("continuing_subword_prefix")
                .putNull("end_of_word_suffix");
        model.put("fuse_unk", false).put("byte_fallback", true);
        model.set("vocab", vocabulary);
        model.putArray("merges");
        return root;
    }

    /** A charset decoder fed one byte at a time; it keeps the bytes of an unfinished character in {@code bytes}. */
    private static final class Decoder implements TokenDecoder {
        private final CharsetDecoder utf8 = StandardCharsets.UTF_8.newDecoder()
                .onMalformedInput(CodingErrorAction.REPLACE).onUnmappableCharacter(CodingErrorAction.REPLACE);
        /** The longest unfinished character has three bytes. */
        private final ByteBuffer bytes = ByteBuffer.allocate(4);
        private final CharBuffer chars = CharBuffer.allocate(8);

        @Override
        public String add(int id) {
            if (id < 0 || id >= SIZE) {
                throw new IllegalArgumentException("no token has id %d: the byte tokenizer has %d".formatted(id, SIZE));
            }
            if (id < FIRST_BYTE) {
                return "";
            }
            bytes.put((byte) (id - FIRST_BYTE));
            return decode(false);
        }

        @Override
        public String finish() {
            String rest = decode(true);
            utf8.reset();
            return rest;
        }

        private String decode(boolean end) {
            bytes.flip();
            utf8.decode(bytes, chars, end);
            bytes.compact();
            String text = chars.flip().toString();
            chars.clear();
            return text;
        }
    }
}
