package org.transnormer.parallel;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.function.IntSupplier;
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
     */
    record Call(String operation, int root, Tensor x, Tensor result) {

        boolean agrees(Call other) {
            return operation.equals(other.operation) && root == other.root && alike(x, other.x);
        }

        @Override
        public String toString() {
            return operation + (x == null ? "" : " of " + x) + (root == 0 ? "" : " from rank " + root);
        }
    }

    private final int size;
    private final Duration timeout;
    private final Call[] calls;
    private final boolean[] here;
    private final boolean[] ended;
    /** What is on its way, by sender and receiver. */
    private final Tensor[][] sent;
    private int arrived;
    private long round;
    private RankException failure;

    Meeting(int size, Duration timeout) {
        this.size = size;
        this.timeout = timeout;
        calls = new Call[size];
        here = new boolean[size];
        ended = new boolean[size];
        sent = new Tensor[size][size];
    }

    int size() {
        return size;
    }

    /**
     * Waits until every rank has come. All may touch each other's tensors until they call {@link #end}.
     *
     * @return what each rank came with
     */
    synchronized List<Call> begin(int rank, Call call) {
        check();
        calls[rank] = call;
        meet(rank, call.toString());
        return List.of(calls);
    }

    /** Waits until every rank has done its share. */
    synchronized void end(int rank) {
        meet(rank, "the end of " + calls[rank]);
    }

    private void meet(int rank, String what) {
        check();
        here[rank] = true;
        if (++arrived == size) {
            Arrays.fill(here, false);
            arrived = 0;
            round++;
            agree();
            notifyAll();
            return;
        }
        long mine = round;
        await(() -> round > mine, this::missing, what);
    }

    /** A rank that is not here; of several, one that has ended. */
    private int missing() {
        int missing = -1;
        for (int r = 0; r < size; r++) {
            if (!here[r] && (missing < 0 || ended[r] && !ended[missing])) {
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
                throw failWith(new RankException(r, "rank %d calls %s while rank %d calls %s".formatted(r, calls[r],
                        usual, calls[usual]), null));
            }
        }
    }

    private int alike(int rank) {
        return (int) Arrays.stream(calls).filter(calls[rank]::agrees).count();
    }

    synchronized void send(Tensor x, int from, int to) {
        check();
        sent[from][to] = x;
        notifyAll();
        await(() -> sent[from][to] == null, () -> to, "send of %s from rank %d".formatted(x, from));
    }

    synchronized void receive(Tensor x, int from, int to) {
        check();
        await(() -> sent[from][to] != null, () -> from, "receive of %s on rank %d".formatted(x, to));
        if (!alike(x, sent[from][to])) {
            throw failWith(new RankException(from, "rank %d sends %s while rank %d receives %s".formatted(from,
                    sent[from][to], to, x), null));
        }
        x.copyFrom(sent[from][to]);
        sent[from][to] = null;
        notifyAll();
    }

    /** Waits until something is so, or the meeting fails: because the rank that is waited for ended or is late. */
    private void await(BooleanSupplier done, IntSupplier awaited, String what) {
        long deadline = System.nanoTime() + timeout.toNanos();
        while (!done.getAsBoolean()) {
            check();
            int rank = awaited.getAsInt();
            long left = deadline - System.nanoTime();
            if (ended[rank]) {
                throw failWith(new RankException(rank, "rank %d has ended without %s".formatted(rank, what), null));
            }
            if (left <= 0) {
                throw failWith(new RankException(rank, "rank %d did not come to %s within %s ms".formatted(rank, what,
                        timeout.toMillis()), null));
            }
            try {
                wait(left / 1_000_000 + 1);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw failWith(new RankException(rank, "interrupted while waiting for rank %d in %s".formatted(rank,
                        what), e));
            }
        }
        check();
    }

    /** Ends the waiting of all ranks because one threw. */
    synchronized void fail(int rank, Throwable cause) {
        if (failure == null) {
            failWith(new RankException(rank, "rank %d failed: %s".formatted(rank, cause), cause));
        }
    }

    private RankException failWith(RankException e) {
        failure = failure == null ? e : failure;
        notifyAll();
        return e;
    }

    private void check() {
        if (failure != null) {
            throw new RankException(failure.rank(), failure.getMessage(), failure);
        }
    }

    synchronized void leave(int rank) {
        ended[rank] = true;
        notifyAll();
    }

    /** Joins the ranks' threads; after a failure those that do not end in time are interrupted and left. */
    void awaitEnd(List<Thread> threads) {
        synchronized (this) {
            try {
                while (failure == null && !allEnded()) {
                    wait();
                }
            } catch (InterruptedException e) {
                threads.forEach(Thread::interrupt);
                Thread.currentThread().interrupt();
                throw failWith(new RankException(0, "interrupted while waiting for the ranks to end", e));
            }
        }
        try {
            long deadline = System.nanoTime() + timeout.toNanos();
            for (Thread thread : threads) {
                if (!thread.join(Duration.ofNanos(Math.max(1, deadline - System.nanoTime())))) {
                    thread.interrupt();
                }
            }
        } catch (InterruptedException e) {
            threads.forEach(Thread::interrupt);
            Thread.currentThread().interrupt();
        }
        synchronized (this) {
            if (failure != null) {
                throw failure;
            }
        }
    }

    private boolean allEnded() {
        for (boolean e : ended) {
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
