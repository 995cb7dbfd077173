package org.transnormer.backend;

import java.util.Arrays;
import org.transnormer.srmsnorm.NormParameters;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * What a leaf call cannot do without: its tensors moved through memory once, those that it updates twice, and the
 * floating-point operations of its products.
 *
 * @param bytes read and written
 * @param flops of matrix products, a multiplication and an addition counting two
 */
public record Work(double bytes, double flops) {

    public static final Work NONE = new Work(0, 0);

    /** The work of a call as an observer of a backend sees it; to announce calls is none. */
    public static Work of(String component, String method, Object[] arguments) {
        if (method.equals("reserve")) {
            return NONE;
        }
        double bytes = 0;
        for (Object argument : arguments) {
            if (argument instanceof Tensor t) {
                bytes += bytes(t);
            } else if (argument instanceof NormParameters(Tensor weight, Tensor bias)) {
                bytes += (weight == null ? 0 : bytes(weight)) + (bias == null ? 0 : bytes(bias));
            }
        }
        return switch (component) {
            case "Linear" -> linear(method, arguments, bytes);
            case "FeatureAttention", "LightningAttention" -> new Work(bytes, attention(method, arguments));
            case "Embedding" -> new Work(embedding(method, arguments), 0);
            case "AdamW" -> new Work(adamW(arguments, bytes), 0);
            default -> new Work(bytes, 0);
        };
    }

    private static Work linear(String method, Object[] a, double bytes) {
        Tensor x = (Tensor) a[0];
        Tensor other = (Tensor) a[1];
        boolean accumulates = a[a.length - 1] instanceof Boolean added && added;
        double again = accumulates ? bytes((Tensor) a[2]) : 0;
        // forward: x (T, I), w (O, I); input: dy (T, O), w (O, I); weight: x (T, I), dy (T, O)
        double flops = 2.0 * x.size() * (method.equals("forward") ? other.dim(0) : other.dim(1));
        return new Work(bytes + again, flops);
    }

    /** The recurrence's own: k_t v_tᵀ and S_tᵀ q_t, and five such products backwards. */
    private static double attention(String method, Object[] a) {
        Tensor q = (Tensor) a[0];
        Tensor v = (Tensor) a[2];
        return (method.equals("forward") ? 4.0 : 10.0) * q.size() * v.dim(2);
    }

    /** Only the rows of the table that are named are touched; those that are added to are read, too. */
    private static double embedding(String method, Object[] a) {
        // forward, add: ids, table, rows; backward: ids, rows, table; numbers between them
        Tensor[] t = Arrays.stream(a).filter(Tensor.class::isInstance).toArray(Tensor[]::new);
        boolean backward = method.startsWith("backward");
        Tensor rows = t[backward ? 1 : 2];
        Tensor table = t[backward ? 2 : 1];
        double touched = (double) t[0].size() * table.dim(1) * table.dtype().bytes();
        return bytes(t[0]) + (method.equals("add") ? 2 : 1) * bytes(rows) + (backward ? 2 : 1) * touched;
    }

    /** Master and moments are read and written; a weight of its own is written. */
    private static double adamW(Object[] a, double bytes) {
        Storage master = ((Tensor) a[0]).storage();
        Storage weight = ((Tensor) a[1]).storage();
        double again = bytes((Tensor) a[0]) + bytes((Tensor) a[3]) + bytes((Tensor) a[4]);
        return bytes + again - (master == weight ? bytes((Tensor) a[1]) : 0);
    }

    private static double bytes(Tensor t) {
        return (double) t.size() * t.dtype().bytes();
    }

    public Work over(double n) {
        return new Work(bytes / n, flops / n);
    }

    public Work plus(Work other) {
        return new Work(bytes + other.bytes, flops + other.flops);
    }

    /** Least nanoseconds that it takes, the memory and the arithmetic each at these rates, per second. */
    public double floorNanos(double bytesPerSecond, double flopsPerSecond) {
        return Math.max(bytes / bytesPerSecond, flops / flopsPerSecond) * 1e9;
    }
}
