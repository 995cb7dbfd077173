package org.transnormer.parallel;

import java.util.Optional;
import org.transnormer.parallel.Collective.Kind;
import org.transnormer.tensor.Tensor;

/**
 * A communicator that says what it is asked for: another one, or a rank with nobody else about, whose collectives then
 * change nothing. So a step that is only planned makes the calls of one that is run. SPEC section 7.6.
 */
public final class Observed implements Communicator {

    /** Sees the calls of one rank, in their order. */
    public interface Observer {
        /** A collective is called; a barrier is none. */
        void called(Collective collective);

        /** Collectives of a group that run beside the computation, and are called later, wait for it. */
        default void collectivesAwaitCompute(String group) {
            // not everybody asks
        }

        /** Computation enqueued later waits for the collectives of a group that run beside it, but for the {@code last}. */
        default void computeAwaitsCollectives(String group, int last) {
            // not everybody asks
        }
    }

    private final Optional<Communicator> real;
    private final String group;
    private final int rank;
    private final int size;
    private final boolean beside;
    private final Observer observer;

    private Observed(Optional<Communicator> real, String group, int rank, int size, boolean beside,
            Observer observer) {
        this.real = real;
        this.group = group;
        this.rank = rank;
        this.size = size;
        this.beside = beside;
        this.observer = observer;
    }

    /** Tells what another communicator is asked for. */
    public static Communicator of(Communicator real, String group, Observer observer) {
        return real.size() == 1 ? real : new Observed(Optional.of(real), group, real.rank(), real.size(), false,
                observer);
    }

    /** Tells what a rank of so many would exchange, and exchanges nothing. */
    public static Communicator planned(String group, int rank, int size, Observer observer) {
        return size == 1 ? Communicator.single() : new Observed(Optional.empty(), group, rank, size, false, observer);
    }

    private void called(Kind kind, Tensor x) {
        observer.called(new Collective(kind, group, size, beside, x.size() * x.dtype().bytes()));
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public void allReduceSum(Tensor x) {
        CollectiveArguments.gapless("allReduceSum", x);
        called(Kind.ALL_REDUCE, x);
        real.ifPresent(other -> other.allReduceSum(x));
    }

    @Override
    public void allReduceMax(Tensor x) {
        CollectiveArguments.gapless("allReduceMax", x);
        called(Kind.ALL_REDUCE, x);
        real.ifPresent(other -> other.allReduceMax(x));
    }

    @Override
    public void broadcast(Tensor x, int root) {
        CollectiveArguments.gapless("broadcast", x);
        CollectiveArguments.rank("broadcast", root, size);
        called(Kind.BROADCAST, x);
        real.ifPresent(other -> other.broadcast(x, root));
    }

    @Override
    public void allGather(Tensor part, Tensor whole) {
        CollectiveArguments.parts("allGather", part, whole, size);
        called(Kind.ALL_GATHER, whole);
        real.ifPresent(other -> other.allGather(part, whole));
    }

    @Override
    public void reduceScatterSum(Tensor whole, Tensor part) {
        CollectiveArguments.parts("reduceScatterSum", part, whole, size);
        called(Kind.REDUCE_SCATTER, whole);
        real.ifPresent(other -> other.reduceScatterSum(whole, part));
    }

    @Override
    public void send(Tensor x, int to) {
        CollectiveArguments.other("send", to, rank, size);
        called(Kind.SEND, x);
        real.ifPresent(other -> other.send(x, to));
    }

    @Override
    public void receive(Tensor x, int from) {
        CollectiveArguments.other("receive", from, rank, size);
        called(Kind.RECEIVE, x);
        real.ifPresent(other -> other.receive(x, from));
    }

    @Override
    public void skip() {
        real.ifPresent(Communicator::skip);
    }

    @Override
    public void barrier() {
        real.ifPresent(Communicator::barrier);
    }

    @Override
    public Communicator split(int number) {
        return of(real.orElseThrow(() -> new IllegalStateException("a planned rank has none to be split from")).split(
                number), group + "." + number, observer);
    }

    @Override
    public Communicator beside() {
        return new Observed(real.map(Communicator::beside), group, rank, size, true, observer);
    }

    @Override
    public Optional<String> sumsBeside() {
        return real.flatMap(Communicator::sumsBeside);
    }

    @Override
    public void collectivesAwaitCompute() {
        if (beside) {
            observer.collectivesAwaitCompute(group);
        }
        real.ifPresent(Communicator::collectivesAwaitCompute);
    }

    @Override
    public void computeAwaitsCollectives(int last) {
        if (beside) {
            observer.computeAwaitsCollectives(group, last);
        }
        real.ifPresent(communicator -> communicator.computeAwaitsCollectives(last));
    }
}
