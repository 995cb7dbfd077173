package org.transnormer.tokenizer;

import java.nio.file.Path;
import org.eclipse.collections.api.block.procedure.primitive.IntProcedure;
import org.eclipse.collections.api.list.primitive.IntList;

/**
 * Text to token ids and back. Ids lie in [0, vocabularySize()); the padding of a model's vocabulary to a round size is
 * the model's own affair. Encoding adds no special tokens: who starts a document with {@link #bosId()} or ends it with
 * {@link #eosId()} says so. Immutable, usable by several threads. SPEC section 6.4.
 */
public interface Tokenizer {

    /** Name by which files and messages call it. */
    String name();

    int vocabularySize();

    /** Fills what holds no text; never a target. */
    int padId();

    /** Stands before the first token of a document. */
    int bosId();

    /** Follows the last token of a document. */
    int eosId();

    /** Ids of a text; a lone surrogate, which has no UTF-8 form, counts as U+FFFD. */
    IntList encode(String text);

    /** Passes the ids of a text in UTF-8 to {@code sink}, in order. */
    void encode(byte[] utf8, IntProcedure sink);

    /** Bytes of text that a token stands for; special tokens stand for none. */
    int byteCount(int id);

    /** A fresh decoder for one stream of ids. */
    TokenDecoder decoder();

    /** The text of a whole sequence; special tokens have none, malformed UTF-8 becomes U+FFFD. */
    default String decode(IntList ids) {
        TokenDecoder decoder = decoder();
        StringBuilder text = new StringBuilder();
        ids.forEach(id -> text.append(decoder.add(id)));
        return text.append(decoder.finish()).toString();
    }

    /**
     * Writes the files from which {@link Tokenizers#load} makes this tokenizer again.
     *
     * @throws org.transnormer.EnvironmentException if the folder cannot be written
     */
    void save(Path modelFolder);
}
