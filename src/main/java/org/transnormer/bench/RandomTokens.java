package org.transnormer.bench;

import java.util.SplittableRandom;
import org.transnormer.data.BatchSource;
import org.transnormer.lightning.Border;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.Tensor;

/** Batches of uniformly random tokens: rows of one sequence each, every target counts. */
final class RandomTokens implements BatchSource {
    private final Border border;
    private final long length;
    private final int vocabulary;
    /** Allocates nothing: what a step allocates is measured too. */
    private final SplittableRandom random;

    /** @param length tokens of this rank's part of a row */
    RandomTokens(Border border, long length, int vocabulary, long seed) {
        this.border = border;
        this.length = length;
        this.vocabulary = vocabulary;
        random = new SplittableRandom(seed);
    }

    @Override
    public long tokens() {
        return border.rows() * length;
    }

    @Override
    public int maxSequences() {
        return border.rows();
    }

    @Override
    public int slots() {
        return border.slots();
    }

    @Override
    public long next(Tensor ids, Tensor targets, Sequences sequences) {
        sequences.clear();
        for (int row = 0; row < border.rows(); row++) {
            sequences.add(length, border.part() * length, border.slot(row, border.before(), border.behind()));
        }
        for (long t = 0; t < tokens(); t++) {
            ids.setInt(t, random.nextInt(vocabulary));
            targets.setInt(t, random.nextInt(vocabulary));
        }
        return tokens();
    }
}
