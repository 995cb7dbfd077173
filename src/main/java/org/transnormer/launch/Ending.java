package org.transnormer.launch;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** How a process of a job that cannot go on ends. */
final class Ending {
    private Ending() {
    }

    /**
     * Ends the process at once: a call that hangs in a library cannot be interrupted, and the hooks of an orderly exit
     * would wait for the step at hand. Files are whole at any time.
     *
     * @param line what is said on standard error; null: another rank says it
     */
    static void halt(int status, String line) {
        // Another thread may hold the lock of a stream whose reader has gone away.
        CountDownLatch flushed = new CountDownLatch(1);
        Thread.ofPlatform().daemon().start(() -> {
            System.out.flush();
            if (line != null) {
                boolean onTerminal = System.console() != null && System.console().isTerminal();
                System.err.println((onTerminal ? "\r\u001b[K" : "") + "tnl: " + line);
            }
            System.err.flush();
            flushed.countDown();
        });
        try {
            flushed.await(1, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        Runtime.getRuntime().halt(status);
    }
}
