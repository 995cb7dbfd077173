package org.transnormer.cuda;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.tensor.Tensor;

/**
 * A launch whose arguments are given one after the other, tensors as kernels take them: address, then strides. It is
 * prepared once; between {@link #begin} and {@link #enqueue} all arguments are given in their order.
 */
public final class Call {
    private final Gpu gpu;
    private final Launch launch;
    private int next;

    /**
     * Prepares a kernel of {@code cuda/<stem>.cu}.
     *
     * @param parameters a letter each: p pointer, i int, l long long, d double, m a matrix (pointer, row stride), h
     *     (tokens, heads, channels) (pointer, token stride, head stride)
     */
    public Call(Gpu gpu, String stem, String kernel, String parameters) {
        this.gpu = gpu;
        List<ArgumentType> types = new ArrayList<>();
        for (char parameter : parameters.toCharArray()) {
            types.addAll(switch (parameter) {
                case 'p' -> List.of(ArgumentType.POINTER);
                case 'i' -> List.of(ArgumentType.INT);
                case 'l' -> List.of(ArgumentType.LONG);
                case 'd' -> List.of(ArgumentType.DOUBLE);
                case 'm' -> List.of(ArgumentType.POINTER, ArgumentType.LONG);
                case 'h' -> List.of(ArgumentType.POINTER, ArgumentType.LONG, ArgumentType.LONG);
                default -> throw new IllegalArgumentException(kernel + ": no parameter is a '" + parameter + "'");
            });
        }
        launch = gpu.launch(stem, kernel, types.toArray(ArgumentType[]::new));
    }

    /** Lets the kernel overlap the one before it: {@link Launch#overlapping}. */
    public Call overlapping() {
        launch.overlapping();
        return this;
    }

    /** Where grid and block are set. */
    public Launch launch() {
        return launch;
    }

    /** The first argument is next. */
    public Call begin() {
        next = 0;
        return this;
    }

    /** Address of a tensor's first element, null where there is no tensor. */
    public Call pointer(Tensor t) {
        launch.set(next++, t);
        return this;
    }

    /** A tensor of (rows, columns), or null. */
    public Call matrix(Tensor t) {
        return pointer(t).value(t == null ? 0 : t.stride(0));
    }

    /** A tensor of (tokens, heads, channels), or null. */
    public Call heads(Tensor t) {
        return matrix(t).value(t == null ? 0 : t.stride(1));
    }

    public Call value(int x) {
        launch.set(next++, x);
        return this;
    }

    public Call value(long x) {
        launch.set(next++, x);
        return this;
    }

    public Call value(double x) {
        launch.set(next++, x);
        return this;
    }

    /** Enqueues the kernel. */
    public void enqueue() {
        launch.on(gpu.stream());
    }
}
