package org.transnormer.bench;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;

/** Bytes that calls allocate on the Java heap, in all threads together. */
final class HeapAllocation {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private HeapAllocation() {
    }

    /** Since the process began. */
    static long total() {
        return THREADS.getTotalThreadAllocatedBytes();
    }

    /** Mean of some calls; what the counters themselves allocate is taken off. */
    static double bytesPerCall(int calls, Runnable call) {
        long before = total();
        long nothing = total();
        for (int i = 0; i < calls; i++) {
            call.run();
        }
        long after = total();
        return Math.max(0, (double) (after - nothing - (nothing - before)) / calls);
    }
}
