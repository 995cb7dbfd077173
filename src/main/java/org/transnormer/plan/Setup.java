package org.transnormer.plan;

import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;

/**
 * A training step on some ranks.
 *
 * @param layout of the ranks
 * @param sharding what those that read different rows share
 * @param recompute what the backward computes again
 * @param rows sequences of a micro-batch, on all ranks together
 * @param length tokens of a sequence
 * @param microBatches of a step
 */
public record Setup(ModelConfig config, Precision precision, Layout layout, DataParallel.Mode sharding,
        Recompute recompute, int rows, long length, int microBatches) {

    /** Tokens of a step. */
    public long tokens() {
        return rows * length * microBatches;
    }

    Setup withMicroBatches(int other) {
        return new Setup(config, precision, layout, sharding, recompute, rows, length, other);
    }
}
