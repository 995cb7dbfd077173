package org.transnormer.parallel;

import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.function.IntSupplier;
import java.util.stream.IntStream;
import org.transnormer.tensor.Tensor;

/**
 * Where the ranks of {@link InProcess} meet: nobody goes on until all are there, and everybody learns at once when one
 * has failed, has ended, does something else, or does not come in time.
 */
final class Meeting {

    /**
     * What a rank comes with.
     *
     * @param root rank that a broadcast starts from, else 0
     * @param x tensor that others read, or null
     * @param result tensor of another shape that only this rank writes, or null
     * @param group of a split, else 0
     */
    record Call(String operation, int root, Tensor x, Tensor result, int group) {

        Call(String operation, int root, Tensor x, Tensor result) {
            this(operation, root, x, result, 0);
        }

        boolean agrees(Call other) {
            return operation.equals(other.operation) && root == other.root && alike(x, other.x);
        }

        @Override
        public String toString() {
            return operation + (x == null ? "" : " of " + x) + (root == 0 ? "" : " from rank " + root);
        }
    }

    /** What the meetings of all parts of the ranks share; they wait and wake each other on it. */
    private static final class Whole {
        private final Duration timeout;
        private final boolean[] ended;
        private RankException failure;

        Whole(int size, Duration timeout) {
            this.timeout = timeout;
            ended = new boolean[size];
        }
    }

    private final Whole whole;
    /** Numbers in the whole of the ranks that meet here. */
    private final int[] names;
    private final int size;
    private final Call[] calls;
    private final boolean[] here;
    /** What is on its way, by sender and receiver. */
    private final Tensor[][] sent;
    /** Made by {@link #split}, by round and group. */
    private final Map<List<Long>, Meeting> parts = new HashMap<>();
    private int arrived;
    private long round;

    Meeting(int size, Duration timeout) {
        this(new Whole(size, timeout), IntStream.range(0, size).toArray());
    }

    private Meeting(Whole whole, int[] names) {
        this.whole = whole;
        this.names = names;
        size = names.length;
        calls = new Call[size];
        here = new boolean[size];
        sent = new Tensor[size][size];
    }

    int size() {
        return size;
    }

    /** Number in the whole of a rank of this meeting. */
    int name(int rank) {
        return names[rank];
    }

    /** Number in this meeting of a rank of the whole. */
    int number(int name) {
        return Arrays.binarySearch(names, name);
    }

    /** The meeting of the ranks that come with the same group. */
    Meeting split(int rank, int group) {
        synchronized (whole) {
            List<Call> all = begin(rank, new Call("split", 0, null, null, group));
            int[] members = IntStream.range(0, size).filter(r -> all.get(r).group == group).map(r -> names[r])
                    .toArray();
            Meeting part = parts.computeIfAbsent(List.of(round, (long) group), _ -> new Meeting(whole, members));
            end(rank);
            return part;
        }
    }

    /**
     * Waits until every rank has come. All may touch each other's tensors until they call {@link #end}.
     *
     * @return what each rank came with
     */
    List<Call> begin(int rank, Call call) {
        synchronized (whole) {
            check();
            calls[rank] = call;
            meet(rank, call.toString());
            return List.of(calls);
        }
    }

    /** Waits until every rank has done its share. */
    void end(int rank) {
        synchronized (whole) {
            meet(rank, "the end of " + calls[rank]);
        }
    }

    private void meet(int rank, String what) {
        check();
        here[rank] = true;
        if (++arrived == size) {
            Arrays.fill(here, false);
            arrived = 0;
            round++;
            agree();
            whole.notifyAll();
            return;
        }
        long mine = round;
        await(() -> round > mine, this::missing, what);
    }

    /** A rank that is not here; of several, one that has ended. */
    private int missing() {
        int missing = -1;
        for (int r = 0; r < size; r++) {
            if (!here[r] && (missing < 0 || whole.ended[names[r]] && !whole.ended[names[missing]])) {
                missing = r;
            }
        }
        return missing;
    }

    /** The rank to blame is the first whose call is not that of the most. */
    private void agree() {
        int usual = 0;
        for (int r = 1; r < size; r++) {
            usual = alike(r) > alike(usual) ? r : usual;
        }
        for (int r = 0; r < size; r++) {
            if (!calls[r].agrees(calls[usual])) {
                throw failWith(new RankException(names[r], "rank %d calls %s while rank %d calls %s".formatted(names[r],
                        calls[r], names[usual], calls[usual]), null));
            }
        }
    }

    private int alike(int rank) {
        return (int) Arrays.stream(calls).filter(calls[rank]::agrees).count();
    }

    void send(Tensor x, int from, int to) {
        synchronized (whole) {
            check();
            sent[from][to] = x;
            whole.notifyAll();
            await(() -> sent[from][to] == null, () -> to, "send of %s from rank %d".formatted(x, names[from]));
        }
    }

    void receive(Tensor x, int from, int to) {
        synchronized (whole) {
            check();
            await(() -> sent[from][to] != null, () -> from, "receive of %s on rank %d".formatted(x, names[to]));
            if (!alike(x, sent[from][to])) {
                throw failWith(new RankException(names[from], "rank %d sends %s while rank %d receives %s".formatted(
                        names[from], sent[from][to], names[to], x), null));
            }
            x.copyFrom(sent[from][to]);
            sent[from][to] = null;
            whole.notifyAll();
        }
    }

    /** Waits until something is so, or the meeting fails: because the rank that is waited for ended or is late. */
    private void await(BooleanSupplier done, IntSupplier awaited, String what) {
        long deadline = System.nanoTime() + whole.timeout.toNanos();
        while (!done.getAsBoolean()) {
            check();
            int rank = names[awaited.getAsInt()];
            long left = deadline - System.nanoTime();
            if (whole.ended[rank]) {
                throw failWith(new RankException(rank, "rank %d has ended without %s".formatted(rank, what), null));
            }
            if (left <= 0) {
                throw failWith(new RankException(rank, "rank %d did not come to %s within %s ms".formatted(rank, what,
                        whole.timeout.toMillis()), null));
            }
            try {
                whole.wait(left / 1_000_000 + 1);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw failWith(new RankException(rank, "interrupted while waiting for rank %d in %s".formatted(rank,
                        what), e));
            }
        }
        check();
    }

    /** Ends the waiting of all ranks because one threw. */
    void fail(int rank, Throwable cause) {
        synchronized (whole) {
            if (whole.failure == null) {
                failWith(new RankException(rank, "rank %d failed: %s".formatted(rank, cause), cause));
            }
        }
    }

    private RankException failWith(RankException e) {
        whole.failure = whole.failure == null ? e : whole.failure;
        whole.notifyAll();
        return e;
    }

    private void check() {
        if (whole.failure != null) {
            throw new RankException(whole.failure.rank(), whole.failure.getMessage(), whole.failure);
        }
    }

    void leave(int rank) {
        synchronized (whole) {
            whole.ended[rank] = true;
            whole.notifyAll();
        }
    }

    /** Joins the ranks' threads; after a failure those that do not end in time are interrupted and left. */
    void awaitEnd(List<Thread> threads) {
        synchronized (whole) {
            try {
                while (whole.failure == null && !allEnded()) {
                    whole.wait();
                }
            } catch (InterruptedException e) {
                threads.forEach(Thread::interrupt);
                Thread.currentThread().interrupt();
                throw failWith(new RankException(0, "interrupted while waiting for the ranks to end", e));
            }
        }
        try {
            long deadline = System.nanoTime() + whole.timeout.toNanos();
            for (Thread thread : threads) {
                if (!thread.join(Duration.ofNanos(Math.max(1, deadline - System.nanoTime())))) {
                    thread.interrupt();
                }
            }
        } catch (InterruptedException e) {
            threads.forEach(Thread::interrupt);
            Thread.currentThread().interrupt();
        }
        synchronized (whole) {
            if (whole.failure != null) {
                throw whole.failure;
            }
        }
    }

    private boolean allEnded() {
        for (boolean e : whole.ended) {
            if (!e) {
                return false;
            }
        }
        return true;
    }

    private static boolean alike(Tensor a, Tensor b) {
        return a == b || a != null && b != null && a.dtype() == b.dtype() && Arrays.equals(a.shape(), b.shape());
    }
}
