package org.transnormer.parallel;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.DoubleBinaryOperator;
import org.transnormer.tensor.Tensor;

/**
 * Ranks that are threads of one process, their tensors in host memory: every parallel scheme runs and is tested by it
 * with no GPU. SPEC section 7.
 *
 * <p>Sums are formed in double, in the order of the ranks, and rounded once. A rank forms its share of the elements for
 * all ranks, so that nothing is computed twice and no memory is needed beside the tensors themselves.
 */
public final class InProcess implements Communicator {

    private final Meeting meeting;
    private final int rank;

    private InProcess(Meeting meeting, int rank) {
        this.meeting = meeting;
        this.rank = rank;
    }

    /**
     * Runs every rank in a thread of its own and returns when all have ended.
     *
     * @param timeout longest that a rank waits for the others in one collective
     * @param body what each rank does
     * @throws RankException naming the rank that threw, with what it threw as the cause; or the rank that did not come
     *     to a collective, or came to another one than the others. The other ranks have ended by then, each by a
     *     RankException of the same message, but for one that hangs outside collectives: it is interrupted and left
     */
    public static void run(int size, Duration timeout, Consumer<Communicator> body) {
        if (size < 1) {
            throw new IllegalArgumentException("there must be at least 1 rank, not " + size);
        }
        Meeting meeting = new Meeting(size, timeout);
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < size; i++) {
            int rank = i;
            threads.add(Thread.ofPlatform().daemon().name("rank " + rank).start(() -> {
                try {
                    body.accept(new InProcess(meeting, rank));
                } catch (Throwable t) {
                    meeting.fail(rank, t);
                } finally {
                    meeting.leave(rank);
                }
            }));
        }
        meeting.awaitEnd(threads);
    }

    @Override
    public int size() {
        return meeting.size();
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public void allReduceSum(Tensor x) {
        allReduce("allReduceSum", x, Double::sum);
    }

    @Override
    public void allReduceMax(Tensor x) {
        allReduce("allReduceMax", x, Math::max);
    }

    private void allReduce(String operation, Tensor x, DoubleBinaryOperator reduction) {
        CollectiveArguments.gapless(operation, x);
        List<Meeting.Call> calls = meeting.begin(rank, new Meeting.Call(operation, 0, x, null));
        List<Tensor> all = calls.stream().map(call -> flat(call.x())).toList();
        long n = x.size();
        for (long i = n * rank / size(); i < n * (rank + 1) / size(); i++) {
            double result = reduce(all, i, reduction);
            for (int r = 0; r < size(); r++) {
                all.get(r).set(i, result);
            }
        }
        meeting.end(rank);
    }

    @Override
    public void broadcast(Tensor x, int root) {
        CollectiveArguments.gapless("broadcast", x);
        CollectiveArguments.rank("broadcast", root, size());
        List<Meeting.Call> calls = meeting.begin(rank, new Meeting.Call("broadcast", root, x, null));
        if (rank != root) {
            x.copyFrom(calls.get(root).x());
        }
        meeting.end(rank);
    }

    @Override
    public void allGather(Tensor part, Tensor whole) {
        CollectiveArguments.parts("allGather", part, whole, size());
        List<Meeting.Call> calls = meeting.begin(rank, new Meeting.Call("allGather", 0, part, whole));
        long n = part.dim(0);
        for (int r = 0; r < size(); r++) {
            Tensor place = whole.slice(0, r * n, (r + 1) * n);
            if (!CollectiveArguments.same(place, calls.get(r).x())) {
                place.copyFrom(calls.get(r).x());
            }
        }
        meeting.end(rank);
    }

    @Override
    public void reduceScatterSum(Tensor whole, Tensor part) {
        CollectiveArguments.parts("reduceScatterSum", part, whole, size());
        List<Meeting.Call> calls = meeting.begin(rank, new Meeting.Call("reduceScatterSum", 0, whole, part));
        List<Tensor> all = calls.stream().map(call -> flat(call.x())).toList();
        Tensor sums = flat(part);
        for (long i = 0; i < sums.size(); i++) {
            sums.set(i, reduce(all, rank * sums.size() + i, Double::sum));
        }
        meeting.end(rank);
    }

    @Override
    public void send(Tensor x, int to) {
        CollectiveArguments.gapless("send", x);
        CollectiveArguments.other("send", to, rank, size());
        meeting.send(x, rank, to);
    }

    @Override
    public void receive(Tensor x, int from) {
        CollectiveArguments.gapless("receive", x);
        CollectiveArguments.other("receive", from, rank, size());
        meeting.receive(x, from, rank);
    }

    @Override
    public void barrier() {
        meeting.begin(rank, new Meeting.Call("barrier", 0, null, null));
    }

    @Override
    public Communicator split(int group) {
        Meeting part = meeting.split(rank, group);
        return new InProcess(part, part.number(meeting.name(rank)));
    }

    /** Collectives that take place as late as they may: a result that is read too early is a wrong one. */
    @Override
    public Communicator beside() {
        return new Late(this);
    }

    @Override
    public void collectivesAwaitCompute() {
        // collectives are done when they return, and so is computation
    }

    @Override
    public void computeAwaitsCollectives(int last) {
        // as above
    }

    private double reduce(List<Tensor> all, long i, DoubleBinaryOperator reduction) {
        double result = all.getFirst().get(i);
        for (int r = 1; r < size(); r++) {
            result = reduction.applyAsDouble(result, all.get(r).get(i));
        }
        return result;
    }

    private static Tensor flat(Tensor x) {
        return Tensor.of(x.name(), x.dtype(), x.storage(), x.offset(), x.size());
    }
}
