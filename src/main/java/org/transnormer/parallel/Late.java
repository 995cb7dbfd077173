package org.transnormer.parallel;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.tensor.Tensor;

/**
 * Collectives of threads as late as they may be: when the computation awaits them. What reads a result without waiting
 * for it, or overwrites what is still to be exchanged, goes wrong here as it might beside a GPU's computation.
 */
final class Late implements Communicator {
    private final InProcess ranks;
    private final List<Runnable> calls = new ArrayList<>();

    Late(InProcess ranks) {
        this.ranks = ranks;
    }

    @Override
    public int size() {
        return ranks.size();
    }

    @Override
    public int rank() {
        return ranks.rank();
    }

    @Override
    public void allReduceSum(Tensor x) {
        calls.add(() -> ranks.allReduceSum(x));
    }

    @Override
    public void allReduceMax(Tensor x) {
        calls.add(() -> ranks.allReduceMax(x));
    }

    @Override
    public void broadcast(Tensor x, int root) {
        calls.add(() -> ranks.broadcast(x, root));
    }

    @Override
    public void allGather(Tensor part, Tensor whole) {
        calls.add(() -> ranks.allGather(part, whole));
    }

    @Override
    public void reduceScatterSum(Tensor whole, Tensor part) {
        calls.add(() -> ranks.reduceScatterSum(whole, part));
    }

    @Override
    public void send(Tensor x, int to) {
        calls.add(() -> ranks.send(x, to));
    }

    @Override
    public void receive(Tensor x, int from) {
        calls.add(() -> ranks.receive(x, from));
    }

    @Override
    public void barrier() {
        computeAwaitsCollectives();
        ranks.barrier();
    }

    @Override
    public Communicator split(int group) {
        return ranks.split(group).beside();
    }

    @Override
    public Communicator beside() {
        return new Late(ranks);
    }

    @Override
    public void collectivesAwaitCompute() {
        // what was computed before a collective is called is done by then
    }

    @Override
    public void computeAwaitsCollectives(int last) {
        List<Runnable> first = calls.subList(0, Math.max(0, calls.size() - last));
        List<Runnable> due = List.copyOf(first);
        first.clear();
        due.forEach(Runnable::run);
    }
}
