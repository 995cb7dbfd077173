package org.transnormer.tensor;

/**
 * A buffer whose first axis counts tokens, allocated once for the most tokens that may come. {@link #rows} is the view
 * of the tokens at hand; it is made anew only when their number changes, so that a step allocates nothing.
 */
public final class Buffer {
    private final Tensor whole;
    private Tensor view;

    private Buffer(Tensor whole) {
        this.whole = whole;
        this.view = whole;
    }

    /** Allocates (maxTokens, shape...). */
    public static Buffer allocate(Memory memory, MemoryKind kind, String name, DType dtype, long maxTokens,
            long... shape) {
        long[] full = new long[shape.length + 1];
        full[0] = maxTokens;
        System.arraycopy(shape, 0, full, 1, shape.length);
        return new Buffer(memory.allocate(kind, name, dtype, full));
    }

    /** The first {@code tokens} rows. */
    public Tensor rows(long tokens) {
        if (view.dim(0) != tokens) {
            view = whole.slice(0, 0, tokens);
        }
        return view;
    }

    public long maxTokens() {
        return whole.dim(0);
    }
}
