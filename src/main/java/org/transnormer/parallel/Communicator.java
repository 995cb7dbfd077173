package org.transnormer.parallel;

import java.util.Optional;
import org.transnormer.tensor.Tensor;

/**
 * The ranks that share one model. Compositions call it between the partial and the apply phase of a two-phase
 * component, so no collective hides inside a twin. SPEC section 7.
 *
 * <p>Every rank makes the same calls in the same order, with tensors of the same shape and type, without gaps. The order
 * of a sum is fixed, and every rank gets the same bits: in host memory it is added in the order of the ranks and rounded
 * once to the tensor's type, on GPUs as {@link Nccl} does it. There calls only enqueue.
 */
public sealed interface Communicator
        permits Communicator.Single, Communicator.Planned, InProcess, Nccl, Late, Observed, Relayed {
    /** Collectives that {@link #computeAwaitsCollectives(int)} can leave out. */
    int MOST_UNAWAITED = 7;

    /** Number of ranks. */
    int size();

    /** This process's number, 0 to size() - 1. */
    int rank();

    /** Replaces x on every rank by the sum over the ranks. */
    void allReduceSum(Tensor x);

    /**
     * Replaces x on every rank by the elementwise maximum over the ranks; in host memory NaN where a rank has NaN, which
     * {@link Nccl} may lose: who must see it sums something of it too, as the loss does.
     */
    void allReduceMax(Tensor x);

    /** Replaces x on every rank by that of {@code root}. */
    void broadcast(Tensor x, int root);

    /**
     * whole = the parts of all ranks one after the other along the first axis.
     *
     * @param part (n, ...); may be this rank's range of {@code whole}
     * @param whole (size · n, ...)
     */
    void allGather(Tensor part, Tensor whole);

    /**
     * part = this rank's range, along the first axis, of the sum over the ranks of {@code whole}.
     *
     * @param whole (size · n, ...), not changed outside {@code part}
     * @param part (n, ...); may be this rank's range of {@code whole}
     */
    void reduceScatterSum(Tensor whole, Tensor part);

    /**
     * Gives x to a rank that calls {@link #receive}; what comes later waits until it has it: two ranks never both send
     * first.
     */
    void send(Tensor x, int to);

    /** Replaces x by what a rank gives by {@link #send}. */
    void receive(Tensor x, int from);

    /**
     * Counts as a call where other ranks send or receive and this one has nobody to: by their numbers of calls it is told
     * who is waited for (SPEC section 7.4).
     */
    default void skip() {
        // most count nothing
    }

    /** Returns when every rank has called it. */
    void barrier();

    /**
     * The communicator of the ranks that call this with the same number, which count from 0 in the order that they have
     * here. Every rank calls it.
     */
    Communicator split(int group);

    /**
     * Another communicator of the same ranks, whose collectives run beside the computation where that is possible: what
     * must wait for what is then said by {@link #collectivesAwaitCompute} and {@link #computeAwaitsCollectives}. Every
     * rank calls it.
     */
    Communicator beside();

    /** How large sums of {@link #beside} go, for the user to read, once there is one; empty where there is one way. */
    default Optional<String> sumsBeside() {
        return Optional.empty();
    }

    /**
     * Collectives that are called later wait for all computation enqueued so far. Does nothing where both are in one
     * order anyway, as they are but for {@link #beside}.
     */
    void collectivesAwaitCompute();

    /** Computation that is enqueued later waits for all collectives called so far here; or nothing, as above. */
    default void computeAwaitsCollectives() {
        computeAwaitsCollectives(0);
    }

    /**
     * The same, but for those called last.
     *
     * @param last how many need not be awaited, at most {@link #MOST_UNAWAITED}
     */
    void computeAwaitsCollectives(int last);

    /** One rank: nothing to exchange. */
    static Communicator single() {
        return Single.INSTANCE;
    }

    /** A rank of which only the memory is planned: it says which one it is, and exchanges nothing. */
    record Planned(int rank, int size) implements Communicator {
        private static IllegalStateException none() {
            return new IllegalStateException("a planned rank has none to exchange with");
        }

        @Override
        public void allReduceSum(Tensor x) {
            throw none();
        }

        @Override
        public void allReduceMax(Tensor x) {
            throw none();
        }

        @Override
        public void broadcast(Tensor x, int root) {
            throw none();
        }

        @Override
        public void allGather(Tensor part, Tensor whole) {
            throw none();
        }

        @Override
        public void reduceScatterSum(Tensor whole, Tensor part) {
            throw none();
        }

        @Override
        public void send(Tensor x, int to) {
            throw none();
        }

        @Override
        public void receive(Tensor x, int from) {
            throw none();
        }

        @Override
        public void barrier() {
            throw none();
        }

        @Override
        public Communicator split(int group) {
            throw none();
        }

        @Override
        public Communicator beside() {
            return this;
        }

        @Override
        public void collectivesAwaitCompute() {
            // there are none
        }

        @Override
        public void computeAwaitsCollectives(int last) {
            // there are none
        }
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

        @Override
        public void broadcast(Tensor x, int root) {
            CollectiveArguments.rank("broadcast", root, 1);
        }

        @Override
        public void allGather(Tensor part, Tensor whole) {
            CollectiveArguments.parts("allGather", part, whole, 1);
            if (!CollectiveArguments.same(part, whole)) {
                whole.copyFrom(part);
            }
        }

        @Override
        public void reduceScatterSum(Tensor whole, Tensor part) {
            CollectiveArguments.parts("reduceScatterSum", part, whole, 1);
            if (!CollectiveArguments.same(part, whole)) {
                part.copyFrom(whole);
            }
        }

        @Override
        public void send(Tensor x, int to) {
            CollectiveArguments.other("send", to, 0, 1);
        }

        @Override
        public void receive(Tensor x, int from) {
            CollectiveArguments.other("receive", from, 0, 1);
        }

        @Override
        public void barrier() {
            // one rank waits for nobody
        }

        @Override
        public Communicator split(int group) {
            return this;
        }

        @Override
        public Communicator beside() {
            return this;
        }

        @Override
        public void collectivesAwaitCompute() {
            // nothing is exchanged
        }

        @Override
        public void computeAwaitsCollectives(int last) {
            // nothing is exchanged
        }
    }
}
