package org.transnormer.simd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class WorkersTest {

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5})
    void everyTaskRunsOnce(int threads) {
        try (Workers workers = new Workers(threads)) {
            assertThat(workers.threads()).isEqualTo(threads);
            for (int count : new int[] {0, 1, 2, threads, 1000}) {
                AtomicIntegerArray runs = new AtomicIntegerArray(1000);
                workers.run(count, (index, worker) -> {
                    assertThat(worker).isBetween(0, threads - 1);
                    runs.incrementAndGet((int) index);
                });
                for (int i = 0; i < 1000; i++) {
                    assertThat(runs.get(i)).isEqualTo(i < count ? 1 : 0);
                }
            }
        }
    }

    @Test
    void helpersTakePart() {
        try (Workers workers = new Workers(2)) {
            AtomicInteger helped = new AtomicInteger();
            long giveUp = System.nanoTime() + 20_000_000_000L;
            workers.run(2, (index, worker) -> {
                if (worker == 1) {
                    helped.incrementAndGet();
                }
                while (helped.get() == 0 && System.nanoTime() < giveUp) {
                    Thread.onSpinWait();
                }
            });
            assertThat(helped.get()).isPositive();
        }
    }

    @Test
    void whatTasksWroteIsSeenAfterManyCallsOfEveryLength() {
        try (Workers workers = new Workers(3)) {
            long[] values = new long[7];
            long[] total = new long[1];
            Workers.Task add = (index, worker) -> values[(int) index] += index + 1;
            for (int call = 0; call < 20_000; call++) {
                int count = call % 8;
                workers.run(count, add);
                for (int i = 0; i < count; i++) {
                    total[0] += i + 1;
                }
                if (call % 5_000 == 0) {
                    // long enough for the helpers to park
                    LockSupport.parkNanos(2_000_000);
                }
            }
            long sum = 0;
            for (long value : values) {
                sum += value;
            }
            assertThat(sum).isEqualTo(total[0]);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void failuresReachTheCallerAndTheWorkersStayUsable(int threads) {
        try (Workers workers = new Workers(threads)) {
            for (int i = 0; i < 200; i++) {
                AtomicLong after = new AtomicLong();
                assertThatThrownBy(() -> workers.run(50, (index, worker) -> {
                    if (index == 7) {
                        throw new UnsupportedOperationException("task 7");
                    }
                })).isInstanceOf(UnsupportedOperationException.class).hasMessage("task 7");
                assertThatThrownBy(() -> workers.run(2, (index, worker) -> {
                    throw new AssertionError("both");
                })).isInstanceOf(AssertionError.class).hasMessage("both");
                workers.run(50, (index, worker) -> after.addAndGet(index));
                assertThat(after.get()).isEqualTo(49 * 50 / 2);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void tasksCannotStartTasks(int threads) {
        try (Workers workers = new Workers(threads)) {
            for (int count : new int[] {1, 10}) {
                assertThatThrownBy(
                        () -> workers.run(count, (i, worker) -> workers.run(2, (j, other) -> {})))
                        .isInstanceOf(IllegalStateException.class).hasMessageContaining("in progress");
            }
            workers.run(3, (index, worker) -> {});
        }
    }

    @Test
    void closingTwiceIsHarmlessAndEndsTheThreads() {
        Workers workers = new Workers(4);
        Thread[] helpers = new Thread[4];
        workers.run(100, (index, worker) -> {
            helpers[worker] = Thread.currentThread();
            LockSupport.parkNanos(100_000);
        });
        workers.close();
        workers.close();
        for (int i = 1; i < 4; i++) {
            assertThat(helpers[i] == null || !helpers[i].isAlive()).isTrue();
        }
        assertThatThrownBy(() -> workers.run(1, (index, worker) -> {})).isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("closed");
    }

    @Test
    void atLeastOneThread() {
        assertThatThrownBy(() -> new Workers(0)).isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("not 0");
    }

    @Test
    void idleHelpersPark() {
        try (Workers workers = new Workers(2)) {
            Thread[] helper = new Thread[2];
            long giveUp = System.nanoTime() + 20_000_000_000L;
            while (helper[1] == null && System.nanoTime() < giveUp) {
                workers.run(64, (index, worker) -> {
                    helper[worker] = Thread.currentThread();
                    LockSupport.parkNanos(10_000);
                });
            }
            while (helper[1].getState() != Thread.State.WAITING && System.nanoTime() < giveUp) {
                LockSupport.parkNanos(1_000_000);
            }
            assertThat(helper[1].getState()).isEqualTo(Thread.State.WAITING);
        }
    }

    @Test
    void aCallAllocatesNothing() {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long id = Thread.currentThread().threadId();
        try (Workers workers = new Workers(2)) {
            Workers.Task nothing = (index, worker) -> {};
            for (int i = 0; i < 2_000; i++) {
                workers.run(3, nothing);
            }
            long before = threads.getThreadAllocatedBytes(id);
            for (int i = 0; i < 10_000; i++) {
                workers.run(3, nothing);
            }
            // The two readings themselves allocate a little.
            assertThat(threads.getThreadAllocatedBytes(id) - before).isLessThan(10_000);
        }
    }
}
