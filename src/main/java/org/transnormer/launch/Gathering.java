package org.transnormer.launch;

import java.util.List;

/** Processes that tell each other a few bytes. All call the same methods in the same order. SPEC section 7.4. */
public interface Gathering {
    /** Most bytes that a rank gives to a {@link #gather}. */
    int MOST_BYTES = 1 << 12;

    /** Number of processes. */
    int size();

    /** This process's number, 0 to size() - 1. */
    int rank();

    /**
     * Gives some bytes to all, and gets what all gave.
     *
     * @param what they are; the same on all ranks
     * @param mine at most {@link #MOST_BYTES}
     * @return by rank
     */
    List<byte[]> gather(String what, byte[] mine);

    /** What rank {@code root} gave. */
    default byte[] broadcast(String what, byte[] mine, int root) {
        return gather(what, rank() == root ? mine : new byte[0]).get(root);
    }

    /** Returns when every rank has called it. */
    default void barrier(String what) {
        gather(what, new byte[0]);
    }
}
