package org.transnormer.tokenizer;

/** Turns a stream of ids into text piece by piece, holding back bytes until their character is complete. */
public interface TokenDecoder {

    /**
     * Takes one more id.
     *
     * @return the characters that became complete: often one, sometimes none or several
     * @throws IllegalArgumentException if the id is not in the vocabulary
     */
    String add(int id);

    /** Ends the stream: U+FFFD if it ended inside a character, else nothing. The decoder is then as new. */
    String finish();
}
