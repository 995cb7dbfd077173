package org.transnormer.plan;

import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.transnormer.backend.Work;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * How long a leaf call takes: the bytes that it cannot do without at the rate of a copy, or the operations of its products
 * at the rate of products in a step, whichever is more, times what was measured above that, and its launches. SPEC
 * section 7.6.
 *
 * <p>All constants are from cuda/NOTES.md, of an H100; other devices are taken to reach the same shares of their data
 * sheets. Sections: [S] The training step, [N] Norms, LRPE, activations, products, [L] Linear maps, loss, optimizer,
 * embedding, [A] Lightning Attention, [H] Lightning Attention, Hopper.
 */
final class LeafTimes {
    /**
     * Share of the peak that BF16 products reach in a step: 57 ms for 39.2 TFLOP of 385M and 145 ms for 100 TFLOP of 1B
     * [S], less {@link #PRODUCT} a call.
     */
    private static final double PRODUCTS = 0.715;
    /** 49 of 66.9 TFLOP/s: F32 without TF32 [L]. */
    private static final double F32_PRODUCTS = 0.73;
    /** Start and end of a product, µs: what (d, d) takes longer than a quarter of (4d, d), d 1024 [L]. */
    private static final double PRODUCT = 4;
    /** A call more than its kernels [S]: (90.0 - 88.7) ms over 600 calls. */
    private static final double LAUNCH = 2;
    /** Channels of a head that the kernels for Hopper take, and blocks of a device they are made for [H]. */
    private static final int CHANNELS = 128;
    private static final double BLOCKS = 132;
    private static final double SHORTEST_SEGMENT = 512;
    /** Bytes a second of a copy [S]. */
    private static final double MEASURED_COPY = 2.97e12;
    /** Multiprocessors times cycles a second of the device that was measured. */
    private static final double MEASURED_CYCLES = 132 * 1.75e9;

    private final Accelerator device;

    LeafTimes(Accelerator device) {
        this.device = device;
    }

    /** Nanoseconds of a call that an observer of a backend sees. */
    double nanos(String component, String method, Object[] arguments, Work work) {
        double micros = switch (component) {
            case "Linear" -> PRODUCT;
            case "GradientNorm" -> 10;
            case "Embedding" -> method.startsWith("backward") ? 15 : LAUNCH;
            default -> LAUNCH;
        };
        return micros * 1e3 + switch (component) {
            case "Linear" -> products((Tensor) arguments[0], work);
            case "FeatureAttention", "LightningAttention" -> attention(method, arguments, work);
            default -> copied(work) * ratio(component, method, arguments);
        };
    }

    /**
     * Whether a call's kernel counts on all multiprocessors, and waits for those that another one has: BF16 products of
     * compute capability 9.0, whose blocks each take one and stay.
     */
    boolean countsOnAll(String component, Object[] arguments) {
        return component.equals("Linear") && device.isHopper() && ((Tensor) arguments[0]).dtype() == DType.BF16;
    }

    private double copied(Work work) {
        return work.bytes() / device.copy() * 1e9;
    }

    private double products(Tensor x, Work work) {
        return work.floorNanos(device.copy(),
                x.dtype() == DType.F32 ? device.f32() * F32_PRODUCTS : device.bf16() * PRODUCTS);
    }

    /** Over the time of a copy, at 16,384 rows or more. */
    private static double ratio(String component, String method, Object[] arguments) {
        boolean forward = !method.startsWith("backward");
        return switch (component) {
            case "SrmsNorm", "Product" -> 1.03; // [N] 0.99 to 1.06
            case "RmsNorm" -> forward ? 1.06 : 1.32; // [N]
            case "LayerNorm" -> forward ? 1.14 : 1.82; // [N]
            case "Activation" -> 1.08; // [N] SiLU 1.02 to 1.11
            case "Lrpe" -> 1.18; // [N] 1.17 to 1.23
            case "CrossEntropy" -> loss(method, ((Tensor) arguments[0]).dtype() == DType.F32);
            case "Embedding" -> forward ? 1.02 : 1.5; // [L]
            default -> 1.01; // [L] AdamW, gradient norm; a copy
        };
    }

    /** [L]. */
    private static double loss(String method, boolean isF32) {
        return switch (method) {
            case "lossAndGradient" -> isF32 ? 2.09 : 1.45;
            case "partial" -> isF32 ? 1.97 : 1.58;
            default -> 1.07;
        };
    }

    /**
     * Kernels for Hopper are at the memory's rate; the others at that of the multiprocessors. Where a call has few
     * sequences and heads each is cut into segments, whose keys and values are read twice.
     */
    private double attention(String method, Object[] arguments, Work work) {
        Tensor q = (Tensor) arguments[0];
        Tensor v = (Tensor) arguments[2];
        boolean forward = method.equals("forward");
        double longest = longest(arguments);
        double pairs = q.dim(0) / longest * q.dim(1);
        boolean fast = device.isHopper() && q.dtype() == DType.BF16 && q.dim(2) == CHANNELS && v.dim(2) == CHANNELS;
        boolean cut = longest > SHORTEST_SEGMENT && pairs <= (fast ? BLOCKS / 2 : 0.75 * CHANNELS);
        double spread = cut ? 1 : Math.ceil(pairs / BLOCKS) * BLOCKS / pairs;
        if (fast) {
            // [H] 8 x 2048; 1 x 32768
            return copied(work) * spread * (forward ? cut ? 1.51 : 1.08 : cut ? 2.32 : 1.82);
        }
        return copied(work) * device.copy() / MEASURED_COPY * MEASURED_CYCLES / (device.processors() * device.clock())
                * spread * portable(forward, cut, q, v);
    }

    /** Tokens of the longest sequence. */
    private static double longest(Object[] arguments) {
        Sequences sequences = (Sequences) Stream.of(arguments).filter(Sequences.class::isInstance).findFirst()
                .orElseThrow();
        return IntStream.range(0, sequences.count()).mapToLong(sequences::length).max().orElse(1);
    }

    /** [A], over the copy of the operands that this counts. */
    private static double portable(boolean forward, boolean cut, Tensor q, Tensor v) {
        if (q.dtype() == DType.F32) {
            return forward ? cut ? 21 : 14 : cut ? 32 : 22;
        }
        if (q.dim(2) > v.dim(2)) {
            return forward ? 4.8 : 7.2;
        }
        return forward ? cut ? 4.0 : 2.8 : cut ? 7.4 : 5.3;
    }
}
