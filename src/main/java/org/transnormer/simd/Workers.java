package org.transnormer.simd;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * A fixed set of threads that work through numbered tasks together with the caller. How work is cut into tasks depends
 * on shapes only and no task reads what another one of the same call writes, so results do not depend on the number of
 * threads or on who runs what. A call allocates nothing. Calls come from one thread at a time.
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
     * Looks at the clockless condition this often before parking: long enough to bridge the gap between two calls of
     * one step, short enough not to hold a core that others could use.
     */
    private static final int SPINS = 2_000;

    private final Thread[] helpers;
    private final AtomicLong next = new AtomicLong();
    private final AtomicInteger running = new AtomicInteger();
    private volatile int generation;
    private volatile boolean closed;
    private volatile Throwable failure;
    private Task task;
    private long tasks;
    private Thread caller;

    /** @param threads at least 1, the calling thread included */
    public Workers(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("need at least one thread, not " + threads);
        }
        helpers = new Thread[threads - 1];
        for (int i = 0; i < helpers.length; i++) {
            int worker = i + 1;
            helpers[i] = Thread.ofPlatform().name("tnl-worker-" + worker).daemon().start(() -> help(worker));
        }
    }

    public int threads() {
        return helpers.length + 1;
    }

    /**
     * Runs tasks 0 to count - 1, each once, and returns when all are done.
     *
     * @throws RuntimeException what a task threw; the others have ended all the same
     */
    public void run(long count, Task work) {
        if (helpers.length == 0 || count <= 1) {
            for (long i = 0; i < count; i++) {
                work.run(i, 0);
            }
            return;
        }
        task = work;
        tasks = count;
        caller = Thread.currentThread();
        failure = null;
        next.set(0);
        running.set(helpers.length);
        generation++;
        for (Thread helper : helpers) {
            LockSupport.unpark(helper);
        }
        drain(0);
        for (int spins = 0; running.get() > 0; spins++) {
            if (spins < SPINS) {
                Thread.onSpinWait();
            } else {
                LockSupport.park(this);
            }
        }
        task = null;
        if (failure != null) {
            throw failure instanceof RuntimeException e ? e : new IllegalStateException(failure);
        }
    }

    @Override
    public void close() {
        closed = true;
        generation++;
        for (Thread helper : helpers) {
            LockSupport.unpark(helper);
        }
    }

    private void help(int worker) {
        int seen = 0;
        while (true) {
            for (int spins = 0; generation == seen; spins++) {
                if (spins < SPINS) {
                    Thread.onSpinWait();
                } else {
                    LockSupport.park(this);
                }
            }
            seen++;
            if (closed) {
                return;
            }
            drain(worker);
            if (running.decrementAndGet() == 0) {
                LockSupport.unpark(caller);
            }
        }
    }

    private void drain(int worker) {
        try {
            for (long i = next.getAndIncrement(); i < tasks; i = next.getAndIncrement()) {
                task.run(i, worker);
            }
        } catch (RuntimeException | Error e) {
            failure = e;
            next.set(tasks);
        }
    }
}
