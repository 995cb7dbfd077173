package org.transnormer.parallel;

import java.util.Locale;

/**
 * A collective as one rank calls it. SPEC section 7.
 *
 * @param group name of the ranks that take part
 * @param ranks how many they are
 * @param beside whether it runs beside the computation
 * @param bytes of what is reduced or moved: the whole of an all-gather and of a reduce-scatter
 */
public record Collective(Kind kind, String group, int ranks, boolean beside, long bytes) {

    /** What is done. */
    public enum Kind {
        ALL_REDUCE,
        ALL_GATHER,
        REDUCE_SCATTER,
        BROADCAST,
        SEND,
        RECEIVE;

        /** The name in printed tables. */
        public String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    /** Whether ranks of one machine whose GPUs reach each other do it by copies: what {@link Nccl#beside} says. */
    public boolean mayBeCopied() {
        return beside && kind == Kind.ALL_REDUCE && bytes >= CopiedSums.Sizes.STANDARD.least();
    }

    /** Bytes that a rank sends where ranks form a ring, each of whom has a neighbour to send to. */
    public double sent() {
        double others = (ranks - 1.0) / ranks;
        return bytes * switch (kind) {
            case ALL_REDUCE -> 2 * others;
            case ALL_GATHER, REDUCE_SCATTER -> others;
            case BROADCAST, SEND -> 1;
            case RECEIVE -> 0;
        };
    }

    /** Messages one after the other in such a ring. */
    public int hops() {
        return switch (kind) {
            case ALL_REDUCE -> 2 * (ranks - 1);
            case ALL_GATHER, REDUCE_SCATTER, BROADCAST -> ranks - 1;
            case SEND, RECEIVE -> 1;
        };
    }
}
