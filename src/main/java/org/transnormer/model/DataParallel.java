package org.transnormer.model;

import java.util.Locale;
import org.transnormer.parallel.Communicator;

/**
 * How the ranks that read different data share what they hold of one model, and what they exchange of a group of
 * parameters. SPEC section 7.3.
 *
 * <p>Groups are exchanged beside the computation where that is possible: {@link #gather}, {@link #reduce} and
 * {@link #publish} wait for the computation enqueued so far, and {@link #await} makes what is enqueued later wait for
 * them.
 *
 * @param communicator the ranks that read different data, in the order of the computation
 * @param beside the same ranks beside the computation
 */
public record DataParallel(Mode mode, Communicator communicator, Communicator beside) {

    /** What a rank holds; each mode less than the one before. */
    public enum Mode {
        /** Everything: weights, gradients, optimizer state. Gradients are all-reduced. */
        REPLICATED,
        /**
         * Optimizer state of its share alone, which it updates: gradients are reduce-scattered, weights gathered after
         * the update.
         */
        ZERO1,
        /**
         * Of the blocks' matrices its share of the weights and gradients too (ZeRO-3): they are gathered just before
         * use. Everything else as ZERO1.
         */
        FULLY_SHARDED;

        /** The name on the command line. */
        public String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    /** One rank reads all data. */
    public static DataParallel single() {
        return of(Mode.REPLICATED, Communicator.single());
    }

    /**
     * Every rank calls this. One rank alone shares nothing, whatever the mode.
     *
     * @param communicator the ranks that read different data and hold the same part of each layer
     */
    public static DataParallel of(Mode mode, Communicator communicator) {
        return new DataParallel(communicator.size() == 1 ? Mode.REPLICATED : mode, communicator,
                communicator.beside());
    }

    /** Shares that a group is cut into. */
    int shares() {
        return mode == Mode.REPLICATED ? 1 : communicator.size();
    }

    /** Number of this rank's share. */
    int share() {
        return mode == Mode.REPLICATED ? 0 : communicator.rank();
    }

    /** Whether this rank's gradients, after {@link #reduce}, are only part of the model's. */
    public boolean isSharded() {
        return mode != Mode.REPLICATED;
    }

    /** Brings the values of a gathered group into its slot, unless they are there already. */
    void gather(ParameterGroup group) {
        if (group.isGathered() && !group.slot().holds(group)) {
            beside.collectivesAwaitCompute();
            beside.allGather(group.valueShare(), group.value());
            group.slot().hold(group);
        }
    }

    /** Makes this rank's share of a group's gradient the sum over the ranks. */
    void reduce(ParameterGroup group) {
        if (communicator.size() == 1) {
            return;
        }
        beside.collectivesAwaitCompute();
        if (isSharded()) {
            beside.reduceScatterSum(group.gradient(), group.gradientShare());
        } else {
            beside.allReduceSum(group.gradient());
        }
    }

    /** Gives all ranks the values that each has changed in its share of a group. */
    public void publish(ParameterGroup group) {
        if (group.isGathered()) {
            group.slot().forget(group);
        } else if (isSharded()) {
            beside.collectivesAwaitCompute();
            beside.allGather(group.valueShare(), group.value());
        }
    }

    /** Computation enqueued from now on sees what was exchanged so far. */
    public void await() {
        beside.computeAwaitsCollectives();
    }
}
