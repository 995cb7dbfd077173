package org.transnormer.random;

/** What random numbers are for: streams of different purposes never share numbers. SPEC section 1.6. */
public enum Purpose {
    /** Initial weights; the name is the parameter's, the index its global element. */
    INITIAL_WEIGHTS(1),
    /** The order of training examples. */
    SHUFFLE(2),
    /** The next token. */
    SAMPLING(3),
    /** Made-up tokens and tensors of checks and benchmarks. */
    SYNTHETIC(4);

    private final int code;

    Purpose(int code) {
        this.code = code;
    }

    /** Part of the key, hence of every result: it never changes. */
    int code() {
        return code;
    }
}
