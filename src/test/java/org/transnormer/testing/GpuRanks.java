package org.transnormer.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.IntConsumer;
import org.transnormer.cuda.Device;

/** Runs ranks that have a GPU each, as threads of this process. */
public final class GpuRanks {
    private static final Duration LIMIT = Duration.ofMinutes(3);
    private static final ThreadLocal<CyclicBarrier> MEETING = new ThreadLocal<>();

    private GpuRanks() {}

    /** GPUs that there are. */
    public static int count() {
        return Device.all().size();
    }

    /** Leaves a test out where there are too few GPUs; fewer than two are a failure where they are required. */
    public static void require(int size) {
        int there = count();
        if (there < 2 && Boolean.getBoolean("tnl.requireGpu")) {
            throw new AssertionError("this test needs 2 GPUs, and there is " + there);
        }
        assumeTrue(there >= size, "%d GPUs, and there are %d".formatted(size, there));
    }

    /**
     * Returns when all ranks of a {@link #run} have called it; elsewhere at once. Between taking or freeing device memory
     * and a collective: the driver may make one wait for the other's GPU, which waits in a collective.
     */
    public static void meet() {
        CyclicBarrier meeting = MEETING.get();
        if (meeting != null) {
            try {
                meeting.await(LIMIT.toSeconds(), TimeUnit.SECONDS);
            } catch (InterruptedException | BrokenBarrierException | TimeoutException e) {
                throw new IllegalStateException("a rank did not come", e);
            }
        }
    }

    /**
     * Returns when all ranks have ended.
     *
     * @param rank what one does
     * @throws AssertionError of the first that failed; or if some wait for ever, as they may for one that failed
     */
    public static void run(int size, IntConsumer rank) {
        ConcurrentLinkedQueue<Throwable> failures = new ConcurrentLinkedQueue<>();
        CyclicBarrier meeting = new CyclicBarrier(size);
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < size; i++) {
            int number = i;
            threads.add(Thread.ofPlatform().daemon().name("rank " + i).start(() -> {
                try {
                    MEETING.set(meeting);
                    rank.accept(number);
                } catch (Throwable t) {
                    failures.add(t);
                }
            }));
        }
        long deadline = System.nanoTime() + LIMIT.toNanos();
        try {
            while (threads.stream().anyMatch(Thread::isAlive)) {
                // After a failure the others have a little time: they may wait for what never comes.
                if (!failures.isEmpty()) {
                    deadline = Math.min(deadline, System.nanoTime() + Duration.ofSeconds(10).toNanos());
                }
                if (System.nanoTime() > deadline) {
                    break;
                }
                Thread.sleep(5);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
        List<String> waiting = threads.stream().filter(Thread::isAlive).map(Thread::getName).toList();
        if (!failures.isEmpty()) {
            AssertionError e = new AssertionError("%s; still waiting: %s".formatted(failures.peek(), waiting),
                    failures.poll());
            failures.forEach(e::addSuppressed);
            throw e;
        }
        if (!waiting.isEmpty()) {
            throw new AssertionError(waiting + " did not end");
        }
    }
}
