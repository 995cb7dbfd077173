package org.transnormer.launch;

import java.util.List;

/** One process: nothing to exchange, nobody to wait for. */
final class Alone implements Job {
    private volatile boolean stop;

    @Override
    public int size() {
        return 1;
    }

    @Override
    public int rank() {
        return 0;
    }

    @Override
    public void send(int to, byte[] bytes) {
        throw new IllegalArgumentException("one process has nobody to send to");
    }

    @Override
    public byte[] receive(int from) {
        throw new IllegalArgumentException("one process has nobody to receive from");
    }

    @Override
    public void agree(List<String> configuration) {
        // with itself
    }

    @Override
    public List<byte[]> gather(String what, byte[] mine) {
        return List.of(mine);
    }

    @Override
    public void phase(Phase phase) {
        // nobody is told
    }

    @Override
    public void step(long step) {
        // nobody is told
    }

    @Override
    public void collective() {
        // nobody is told
    }

    @Override
    public boolean mayStep(long step) {
        return !stop;
    }

    @Override
    public void requestStop() {
        stop = true;
    }

    @Override
    public void fail(int status, String message) {
        // the caller ends as it would
    }

    @Override
    public void quit(int status) {
        // nobody waits
    }

    @Override
    public void close() {
        // nobody waits
    }
}
