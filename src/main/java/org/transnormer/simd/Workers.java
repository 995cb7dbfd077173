package org.transnormer.simd;

import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/**
 * A fixed set of threads that work through numbered tasks together with the caller. How work is cut into tasks depends
 * on shapes only and no task reads what another one of the same call writes, so results do not depend on the number of
 * threads or on who runs what. A call allocates nothing. Calls come from one thread at a time and not from tasks.
 *
 * <p>The caller starts at once and never waits for a helper that is still waking up: helpers join a call while it is
 * open, the caller closes it when no task is left and waits only for those that joined.
 */
public final class Workers implements AutoCloseable {
    /** One piece of work. */
    @FunctionalInterface
    public interface Task {
        /**
         * @param index number of the task
         * @param worker number of the thread that runs it, 0 to threads - 1: the index of its scratch memory
         */
        void run(long index, int worker);
    }

    /**
     * How long a thread looks for work before it parks: bridges the gap between two calls of one step (waking a parked
     * thread takes as long), and soon leaves the core to others.
     */
    private static final long SPIN_NANOS = 50_000;
    /** {@link #state}: how many helpers have joined, whether more may, and the number of the call above that. */
    private static final long JOINED = 0xffff;
    private static final long OPEN = JOINED + 1;
    private static final long CALL = OPEN << 1;

    private final Helper[] helpers;
    private final long spinNanos;
    private final AtomicLong next = new AtomicLong();
    private final AtomicLong state = new AtomicLong();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private volatile boolean busy;
    private volatile boolean closed;
    private volatile boolean callerParked;
    private Task task;
    private long tasks;
    private Thread caller;

    /** @param threads at least 1, the calling thread included */
    public Workers(int threads) {
        if (threads < 1 || threads > JOINED) {
            throw new IllegalArgumentException("need 1 to %d threads, not %d".formatted(JOINED, threads));
        }
        // With more threads than cores, one that looks for work would hold a core that another one needs.
        spinNanos = threads <= Runtime.getRuntime().availableProcessors() ? SPIN_NANOS : 0;
        helpers = new Helper[threads - 1];
        for (int i = 0; i < helpers.length; i++) {
            helpers[i] = new Helper(i + 1);
        }
        for (Helper helper : helpers) {
            helper.thread.start();
        }
    }

    public int threads() {
        return helpers.length + 1;
    }

    /**
     * Runs tasks 0 to count - 1, each once, and returns when all are done. If one throws, those not yet begun are
     * dropped, those that run end first, and the workers stay usable.
     *
     * @throws RuntimeException what the first failing task threw
     * @throws Error likewise
     * @throws IllegalStateException if this is closed, or a call is in progress
     */
    public void run(long count, Task work) {
        if (busy || closed) {
            throw new IllegalStateException(
                    closed ? "these workers are closed" : "a call is in progress: tasks cannot start tasks");
        }
        busy = true;
        try {
            if (helpers.length == 0 || count <= 1) {
                for (long i = 0; i < count; i++) {
                    work.run(i, 0);
                }
            } else {
                share(count, work);
            }
        } finally {
            busy = false;
        }
    }

    /** Ends the threads; idempotent. */
    @Override
    public void close() {
        closed = true;
        for (Helper helper : helpers) {
            LockSupport.unpark(helper.thread);
        }
        for (Helper helper : helpers) {
            try {
                helper.thread.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return;
            }
        }
    }

    private void share(long count, Task work) {
        task = work;
        tasks = count;
        caller = Thread.currentThread();
        next.set(0);
        state.set((state.get() / CALL + 1) * CALL + OPEN);
        for (int i = 0; i < Math.min(count - 1, helpers.length); i++) {
            if (helpers[i].parked) {
                LockSupport.unpark(helpers[i].thread);
            }
        }
        drain(0);
        if ((state.addAndGet(-OPEN) & JOINED) != 0) {
            awaitJoined();
        }
        task = null;
        switch (failure.getAndSet(null)) {
            case null -> {}
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            case Throwable e -> throw new IllegalStateException(e);
        }
    }

    private void awaitJoined() {
        long start = System.nanoTime();
        while ((state.get() & JOINED) != 0) {
            if (System.nanoTime() - start < spinNanos) {
                Thread.onSpinWait();
            } else {
                callerParked = true;
                if ((state.get() & JOINED) != 0) {
                    LockSupport.park(this);
                }
                callerParked = false;
            }
        }
    }

    private void drain(int worker) {
        try {
            for (long i = next.getAndIncrement(); i < tasks; i = next.getAndIncrement()) {
                task.run(i, worker);
            }
        } catch (Throwable e) {
            failure.compareAndSet(null, e);
            next.set(tasks);
        }
    }

    private final class Helper implements Runnable {
        final Thread thread;
        private final int worker;
        volatile boolean parked;

        Helper(int worker) {
            this.worker = worker;
            thread = Thread.ofPlatform().name("tnl-worker-" + worker).daemon().unstarted(this);
        }

        @Override
        public void run() {
            long last = 0;
            while (!closed) {
                long now = awaitCall(last);
                last = now / CALL;
                while ((now & OPEN) != 0 && now / CALL == last) {
                    if (state.compareAndSet(now, now + 1)) {
                        drain(worker);
                        if ((state.decrementAndGet() & (OPEN | JOINED)) == 0 && callerParked) {
                            LockSupport.unpark(caller);
                        }
                        break;
                    }
                    now = state.get();
                }
            }
        }

        /** The state once it is that of another call than the last one, or these workers are closed. */
        private long awaitCall(long last) {
            long start = System.nanoTime();
            long now = state.get();
            while (now / CALL == last && !closed) {
                if (System.nanoTime() - start < spinNanos) {
                    Thread.onSpinWait();
                } else {
                    parked = true;
                    if (state.get() / CALL == last && !closed) {
                        LockSupport.park(Workers.this);
                    }
                    parked = false;
                }
                now = state.get();
            }
            return now;
        }
    }
}
