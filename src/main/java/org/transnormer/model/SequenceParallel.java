package org.transnormer.model;

import org.transnormer.lightning.Border;
import org.transnormer.parallel.Communicator;

/**
 * The ranks that hold consecutive parts of the same rows, and pass the attention's states on. SPEC section 7.5.
 *
 * @param beside these ranks in the order of the parts, beside the computation
 * @param border of this rank's part
 */
public record SequenceParallel(Communicator beside, Border border) {

    /** Rows are whole. */
    public static SequenceParallel single() {
        return new SequenceParallel(Communicator.single(), Border.none(1));
    }

    /**
     * Every rank calls this.
     *
     * @param communicator the ranks that hold the parts, in their order
     * @param rows of a micro-batch of this rank
     */
    public static SequenceParallel of(Communicator communicator, int rows) {
        return new SequenceParallel(communicator.beside(),
                new Border(rows, communicator.rank(), communicator.size()));
    }
}
