package org.transnormer.parallel;

import org.transnormer.tensor.Tensor;

/**
 * The ranks that share one model. Compositions call it between the partial and the apply phase of a two-phase
 * component, so no collective hides inside a twin. SPEC section 7.
 */
public sealed interface Communicator {

    /** Number of ranks. */
    int size();

    /** This process's number, 0 to size() - 1. */
    int rank();

    /** Replaces x on every rank by the sum over the ranks, added in rank order. */
    void allReduceSum(Tensor x);

    /** Replaces x on every rank by the elementwise maximum over the ranks. */
    void allReduceMax(Tensor x);

    /** One rank: nothing to exchange. */
    static Communicator single() {
        return Single.INSTANCE;
    }

    /** The communicator of a model that one process holds whole. */
    enum Single implements Communicator {
        INSTANCE;

        @Override
        public int size() {
            return 1;
        }

        @Override
        public int rank() {
            return 0;
        }

        @Override
        public void allReduceSum(Tensor x) {
            // the sum over one rank is x
        }

        @Override
        public void allReduceMax(Tensor x) {
            // the maximum over one rank is x
        }
    }
}
