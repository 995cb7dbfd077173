package org.transnormer.train;

import java.util.List;
import org.transnormer.adamw.LearningRate;

/**
 * Everything that decides a run's numbers, and is recorded in its folder. SPEC section 2.6.
 *
 * @param data paths of the text; empty: the bundled corpus
 * @param heldOut share of the documents that is held out, up to {@link RunData#MOST_HELD_OUT} tokens
 * @param rows sequences of a micro-batch, on all ranks together
 * @param length tokens per sequence, T
 * @param microBatches micro-batches of a step
 * @param steps steps of the whole run
 * @param seed of initial weights, split and order of the data
 * @param schedule name of the learning-rate schedule: constant, linear, cosine or wsd
 * @param learningRate its peak
 * @param floor its end as a share of the peak
 * @param warmup steps of linear warm-up
 * @param decay steps of the final decay of wsd; the others ignore it
 * @param weightDecay decoupled, on matrices only
 * @param clip limit of the global gradient norm; 0: none
 * @param evaluateEvery steps between evaluations; 0: only at the end
 * @param checkpointEvery steps between checkpoints; 0: only at the end
 * @param keep checkpoints that are kept
 */
public record TrainSettings(List<String> data, double heldOut, int rows, long length, int microBatches, long steps,
        long seed, String schedule, double learningRate, double floor, long warmup, long decay, double weightDecay,
        double beta1,
        double beta2, double epsilon, double clip, long evaluateEvery, long checkpointEvery, int keep) {

    /** @throws IllegalArgumentException naming the setting that makes no sense, and what would */
    public TrainSettings {
        data = List.copyOf(data);
        check(heldOut > 0 && heldOut < 1, "--held-out", heldOut, "between 0 and 1");
        check(rows >= 1, "--batch", rows, "1 or more");
        check(length >= 1, "--sequence", length, "1 or more");
        check(microBatches >= 1, "--accumulate", microBatches, "1 or more");
        check(steps >= 1, "--steps", steps, "1 or more");
        check(learningRate > 0 && learningRate < 10, "--lr", learningRate, "above 0 and below 10");
        check(floor >= 0 && floor <= 1, "--lr-floor", floor, "a share of the peak from 0 to 1");
        check(warmup >= 0 && warmup < steps, "--warmup", warmup, "0 or more and less than --steps");
        check(LearningRate.NAMES.contains(schedule), "--schedule", schedule, "one of " + LearningRate.NAMES);
        check(!schedule.equals("wsd") || decay >= 1 && decay <= steps - warmup, "--lr-decay", decay,
                "1 to the steps after warm-up");
        check(weightDecay >= 0, "--weight-decay", weightDecay, "0 or more");
        check(beta1 >= 0 && beta1 < 1, "--beta1", beta1, "from 0 to below 1");
        check(beta2 >= 0 && beta2 < 1, "--beta2", beta2, "from 0 to below 1");
        check(epsilon > 0, "--epsilon", epsilon, "above 0");
        check(clip >= 0, "--clip", clip, "0 (off) or more");
        check(evaluateEvery >= 0, "--eval-every", evaluateEvery, "0 (only at the end) or more");
        check(checkpointEvery >= 0, "--checkpoint-every", checkpointEvery, "0 (only at the end) or more");
        check(keep >= 1, "--keep", keep, "1 or more");
    }

    /** Tokens of one step. */
    public long tokensPerStep() {
        return rows * length * microBatches;
    }

    /** The same run with another end; how often it is evaluated and saved stays. */
    public TrainSettings withSteps(long changed) {
        return new TrainSettings(data, heldOut, rows, length, microBatches, changed, seed, schedule, learningRate,
                floor,
                Math.clamp(changed - 1, 0, warmup), decay, weightDecay, beta1, beta2, epsilon, clip, evaluateEvery,
                checkpointEvery, keep);
    }

    private static void check(boolean ok, String flag, Object value, String range) {
        if (!ok) {
            throw new IllegalArgumentException("%s must be %s, not %s".formatted(flag, range, value));
        }
    }
}
