package org.transnormer.data;

import java.util.ArrayList;
import java.util.List;

/**
 * What reading sources came to, and what in it deserves a notice.
 *
 * @param documents documents delivered
 * @param bytes their size
 * @param empty texts without a byte; skipped
 * @param binary files with a NUL byte; skipped
 * @param firstBinary the first of these, or null
 * @param malformed documents that are not well-formed UTF-8; delivered as they are
 * @param firstMalformed the first of these and the place in it, or null
 */
public record ReadReport(long documents, long bytes, long empty, long binary, String firstBinary, long malformed,
        String firstMalformed) {

    /** One line for each kind of thing that the user may not have expected. */
    public List<String> notices() {
        List<String> notices = new ArrayList<>();
        if (empty > 0) {
            notices.add("empty texts skipped: %,d".formatted(empty));
        }
        if (binary > 0) {
            notices.add("binary files skipped: %,d, the first %s".formatted(binary, firstBinary));
        }
        if (malformed > 0) {
            notices.add("texts that are not well-formed UTF-8, taken as they are: %,d, the first %s"
                    .formatted(malformed, firstMalformed));
        }
        return notices;
    }
}
