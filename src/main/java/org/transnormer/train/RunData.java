package org.transnormer.train;

import java.nio.file.Path;
import java.util.List;
import org.transnormer.data.BundledCorpus;
import org.transnormer.data.ReadReport;
import org.transnormer.data.TokenDataset;
import org.transnormer.tokenizer.Tokenizer;

/**
 * The text of a run, as its settings name it. SPEC section 2.6.
 *
 * @param train what it learns from
 * @param heldOut what it is evaluated on
 * @param notices what in the files the user may not have expected, a line each
 */
public record RunData(TokenDataset train, TokenDataset heldOut, List<String> notices) {
    /** Most tokens held out: their loss is known to a thousandth, and to read more would hold up the training. */
    public static final long MOST_HELD_OUT = 1 << 19;

    public RunData {
        notices = List.copyOf(notices);
    }

    /**
     * Reads the files again, or the bundled corpus, which has a split of its own.
     *
     * @throws org.transnormer.InputException if there is no text
     */
    public static RunData read(TrainSettings settings, Tokenizer tokenizer) {
        if (settings.data().isEmpty()) {
            TokenDataset.Split split = BundledCorpus.load(tokenizer);
            return new RunData(split.train(), split.heldOut(), List.of());
        }
        TokenDataset.Loaded loaded = TokenDataset.read(tokenizer, settings.data().stream().map(Path::of).toList());
        TokenDataset.Split split = loaded.data().split(settings.heldOut(), MOST_HELD_OUT, settings.seed());
        ReadReport report = loaded.report();
        return new RunData(split.train(), split.heldOut(), report.notices());
    }
}
