package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;
import java.util.function.Supplier;
import org.transnormer.EnvironmentException;
import org.transnormer.launch.Gathering;
import org.transnormer.launch.ToldException;

/**
 * What several processes do with one folder in steps: a step is done when all have done it, and if one fails, all fail,
 * with its reason. SPEC section 6.3.
 */
public final class SharedFolder {
    private static final int LONGEST_REASON = 1_000;
    private static final int LOOKS = 20;
    private static final long BETWEEN_MILLIS = 100;

    private SharedFolder() {
    }

    /**
     * Every process does something; returns when all have.
     *
     * @param what in the words of the messages between processes
     * @throws ToldException if another process could not, with its reason; what this one's task throws passes through
     */
    static void together(Gathering ranks, String what, Runnable task) {
        RuntimeException failure = null;
        try {
            task.run();
        } catch (RuntimeException e) {
            failure = e;
        }
        List<byte[]> reasons = ranks.gather(what, failure == null ? new byte[0] : reason(failure));
        if (failure != null) {
            throw failure;
        }
        for (int r = 0; r < reasons.size(); r++) {
            if (reasons.get(r).length > 0) {
                throw new ToldException(r, text(reasons.get(r)));
            }
        }
    }

    /** Process 0 does something; returns when it has. Otherwise as {@link #together}. */
    static void first(Gathering ranks, String what, Runnable task) {
        together(ranks, what, ranks.rank() == 0 ? task : () -> {});
    }

    /** What process 0 says. */
    static String told(Gathering ranks, String what, Supplier<String> text) {
        return text(ranks.broadcast(what, ranks.rank() == 0 ? text.get().getBytes(StandardCharsets.UTF_8)
                : new byte[0], 0));
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static byte[] reason(RuntimeException e) {
        String text = String.valueOf(e.getMessage());
        return (text.length() > LONGEST_REASON ? text.substring(0, LONGEST_REASON) + "..." : text)
                .getBytes(StandardCharsets.UTF_8);
    }

    /** Sums over the processes, element by element. */
    static long[] sum(Gathering ranks, String what, long[] mine) {
        long[] sums = new long[mine.length];
        int most = Gathering.MOST_BYTES / Long.BYTES;
        for (int from = 0; from < mine.length; from += most) {
            int n = Math.min(most, mine.length - from);
            ByteBuffer bytes = ByteBuffer.allocate(n * Long.BYTES);
            bytes.asLongBuffer().put(mine, from, n);
            for (byte[] each : ranks.gather(what, bytes.array())) {
                for (int i = 0; i < n; i++) {
                    sums[from + i] += ByteBuffer.wrap(each).getLong(i * Long.BYTES);
                }
            }
        }
        return sums;
    }

    /**
     * Makes sure that a folder is the same one for all processes, and that each can write there: each makes a file that
     * the others must find. Nothing stays.
     *
     * @param folder exists where process 0 runs
     * @throws EnvironmentException if it is not
     */
    public static void check(Gathering ranks, Path folder) {
        if (ranks.size() == 1) {
            return;
        }
        String name = told(ranks, "a name", () -> UUID.randomUUID().toString());
        Path mine = folder.resolve(".tnl-%s-%d".formatted(name, ranks.rank()));
        try {
            together(ranks, "a file for the others to find", () -> make(folder, mine));
            together(ranks, "the files of the others", () -> {
                for (int r = 0; r < ranks.size(); r++) {
                    find(folder, folder.resolve(".tnl-%s-%d".formatted(name, r)), r);
                }
            });
        } finally {
            forget(mine);
        }
    }

    private static void make(Path folder, Path mine) {
        try {
            Files.createFile(mine);
        } catch (IOException e) {
            throw notShared("%s: cannot be written: %s".formatted(folder, InputFiles.reason(e)), e);
        }
    }

    /** File systems between machines may take moments to show what is new. */
    private static void find(Path folder, Path file, int rank) {
        for (int look = 0; !Files.exists(file); look++) {
            if (look == LOOKS) {
                throw notShared("%s: is not the folder that rank %d has under this name".formatted(folder, rank), null);
            }
            try {
                Thread.sleep(BETWEEN_MILLIS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException("interrupted while looking for " + file, e);
            }
        }
    }

    private static void forget(Path mine) {
        try {
            Files.deleteIfExists(mine);
        } catch (IOException e) {
            // What matters is said already.
        }
    }

    private static EnvironmentException notShared(String what, Throwable cause) {
        return new EnvironmentException(what, "put the run on a file system that all machines share, under one path",
                cause);
    }
}
