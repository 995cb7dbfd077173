package org.transnormer.plan;

import java.util.List;
import org.transnormer.data.Document;
import org.transnormer.data.TokenDataset;
import org.transnormer.tokenizer.ByteTokenizer;

/** Texts of which only the length matters. */
final class PlannedText {
    /** Rows of text: in one of so many a sequence ends. */
    private static final long ROWS = 64;
    private static final long MOST = 1 << 23;

    private final long length;
    private final TokenDataset train;
    private final TokenDataset heldOut;

    /** @param length tokens of a row */
    PlannedText(long length) {
        this.length = length;
        train = text(Math.max(2 * length, Math.min(ROWS * length, MOST / length * length)));
        heldOut = text(length);
    }

    /** One document of so many pairs. */
    private static TokenDataset text(long pairs) {
        return TokenDataset.of(new ByteTokenizer(),
                List.of(new Document("text", new byte[Math.toIntExact(pairs - 1)])));
    }

    long length() {
        return length;
    }

    TokenDataset train() {
        return train;
    }

    TokenDataset heldOut() {
        return heldOut;
    }
}
