package org.transnormer.parallel;

/** Bytes from process to process. SPEC section 7.4. */
public interface Exchange {
    /** Most bytes that are sent at once. */
    int MOST = 1 << 18;

    /** Number of processes. */
    int size();

    /** This process's number, 0 to size() - 1. */
    int rank();

    /** Gives bytes to another process, which it gets in the order sent; does not wait until it has them. */
    void send(int to, byte[] bytes);

    /** The next bytes that another process gave. */
    byte[] receive(int from);
}
