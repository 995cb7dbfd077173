package org.transnormer.tensor;

import java.lang.foreign.MemorySegment;

/** Copies between the host and the memory of one device, in the order of the work that was enqueued there. */
public interface Transfer {

    /** Copies all of a host segment to the device; the segment may be overwritten at once. */
    void upload(MemorySegment from, long toAddress);

    /** Fills a host segment from the device; waits for it, and so for all work enqueued before. */
    void download(long fromAddress, MemorySegment to);

    /** Copies inside the device; only enqueued. */
    void copy(long fromAddress, long toAddress, long bytes);

    /** Zeroes device memory; only enqueued. */
    void zero(long address, long bytes);
}
