package org.transnormer.bench;

import java.util.SplittableRandom;
import org.transnormer.data.BatchSource;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.Tensor;

/** Batches of uniformly random tokens: rows of one sequence each, every target counts. */
final class RandomTokens implements BatchSource {
    private final int rows;
    private final long length;
    private final int vocabulary;
    /** Allocates nothing: what a step allocates is measured too. */
    private final SplittableRandom random;

    RandomTokens(int rows, long length, int vocabulary, long seed) {
        this.rows = rows;
        this.length = length;
        this.vocabulary = vocabulary;
        random = new SplittableRandom(seed);
    }

    @Override
    public long tokens() {
        return rows * length;
    }

    @Override
    public int maxSequences() {
        return rows;
    }

    @Override
    public int slots() {
        return 0;
    }

    @Override
    public long next(Tensor ids, Tensor targets, Sequences sequences) {
        sequences.clear();
        for (int row = 0; row < rows; row++) {
            sequences.add(length, 0, Sequences.NO_SLOT);
        }
        for (long t = 0; t < tokens(); t++) {
            ids.setInt(t, random.nextInt(vocabulary));
            targets.setInt(t, random.nextInt(vocabulary));
        }
        return tokens();
    }
}
