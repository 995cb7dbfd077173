package org.transnormer.backend;

/** A point in the work of a backend. */
public interface Mark {

    /** Nanoseconds of the work between an earlier mark of the same backend and this one; waits for it. */
    double nanosSince(Mark earlier);

    /** Frees what it holds. */
    default void release() {
        // the host's clock holds nothing
    }

    /** The host's clock, for backends whose calls return when the work is done. */
    record Clock(long nanos) implements Mark {
        @Override
        public double nanosSince(Mark earlier) {
            return nanos - ((Clock) earlier).nanos;
        }
    }
}
