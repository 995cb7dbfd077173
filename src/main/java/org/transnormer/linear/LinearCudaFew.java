package org.transnormer.linear;

import org.transnormer.cuda.Call;
import org.transnormer.cuda.Gpu;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.srmsnorm.SrmsNorm;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Linear maps of one or two tokens: as fast as their weights are read. x is a tensor, or what a norm with or without a gate or
 * a product makes of it, in the bits that the kernels for these would write. cuda/linear_few.cu.
 */
public final class LinearCudaFew {
    /** Tokens of one call at most. */
    public static final int TOKENS = 2;
    /** The first parameters of a kernel that computes this and more, as {@link Call} takes them. */
    public static final String PARAMETERS = "immddimpmmllii";

    private static final String STEM = "linear_few";
    private static final int THREADS = 512;
    private static final int WARPS = THREADS / 32;
    private static final int RING_BYTES = 10 * THREADS * 16;
    private static final int STATIC_BYTES = 128;
    /** Rows of the weights of one block at most, so that their sums have room. */
    private static final int ROWS = 1024;
    /** Pieces of 16 bytes of a row that a thread holds for its norm. */
    private static final int NORM_PIECES = 2;

    /** What x is made of: the ordinals are the kernel's. */
    private enum Input {
        PLAIN, NORM, PRODUCT
    }

    private final int processors;
    private final int sharedBytes;
    private final Call[] f32 = new Call[TOKENS];
    private final Call[] bf16 = new Call[TOKENS];

    public LinearCudaFew(Gpu gpu) {
        processors = gpu.device().processors();
        sharedBytes = gpu.device().sharedBytesPerBlock() - STATIC_BYTES;
        for (int i = 0; i < TOKENS; i++) {
            f32[i] = call(gpu, "linear_few_f32_" + (i + 1));
            bf16[i] = call(gpu, "linear_few_bf16_" + (i + 1));
        }
    }

    private Call call(Gpu gpu, String kernel) {
        Call call = new Call(gpu, STEM, kernel, PARAMETERS).overlapping();
        call.launch().block(THREADS).allowSharedBytes(sharedBytes);
        return call;
    }

    /** y = x wᵀ + b + residual, T ≤ {@link #TOKENS}. */
    void plain(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y) {
        run(Input.PLAIN, x, null, 1, 0, w, b, residual, y);
    }

    /** Whether {@link #norm} and {@link #product} can take rows like those of x. */
    boolean takes(Tensor x, Tensor w) {
        return x.dim(0) >= 1 && x.dim(0) <= TOKENS && w.size() > 0 && fits(x, w)
                && x.dim(1) <= (long) NORM_PIECES * THREADS * lanes(x);
    }

    /** The same of a norm, which is one that {@link #norm} forms. */
    boolean takes(NormLayer norm, Tensor x, Tensor w) {
        return norm.norm() instanceof SrmsNorm && norm.communicator().size() == 1 && takes(x, w);
    }

    /** Whether {@link #begin} can take it. */
    public boolean takes(NormedProjection projection) {
        return takes(projection.norm(), projection.x(), projection.w());
    }

    /** x = SRMSNorm(x) ⊙ gate; gate may be null. */
    void norm(NormLayer norm, Tensor x, Tensor gate, Tensor w, Tensor b, Tensor residual, Tensor y) {
        run(Input.NORM, x, gate, 1.0 / norm.width(), SrmsNorm.EPSILON, w, b, residual, y);
    }

    /**
     * The first arguments and the grid of a kernel that computes a projection and more. It has {@link #bytes} of dynamic shared
     * memory, and its own behind.
     */
    public Call begin(Call call, NormedProjection projection) {
        Tensor x = projection.x();
        LinearArguments.input(x, null, projection.normed());
        LinearCuda.checkForward(x, projection.w(), projection.b(), null, projection.y());
        return arguments(call, Input.NORM, x, null, 1.0 / projection.norm().width(), SrmsNorm.EPSILON, projection.w(),
                projection.b(), null, projection.y());
    }

    /** Dynamic shared memory of a projection that {@link #takes}. */
    public long bytes(NormedProjection projection) {
        return sumBytes(projection.x(), projection.w()) + staged(projection.x());
    }

    /** Dynamic shared memory of a block at most. */
    public int sharedBytes() {
        return sharedBytes;
    }

    /** x = p ⊙ q. */
    void product(Tensor p, Tensor q, Tensor w, Tensor b, Tensor residual, Tensor y) {
        run(Input.PRODUCT, p, q, 1, 0, w, b, residual, y);
    }

    private void run(Input input, Tensor x, Tensor gate, double inverseWidth, double epsilon, Tensor w, Tensor b,
            Tensor residual, Tensor y) {
        Call call = (x.dtype() == DType.F32 ? f32 : bf16)[(int) x.dim(0) - 1];
        arguments(call, input, x, gate, inverseWidth, epsilon, w, b, residual, y);
        call.launch().sharedBytes((int) (sumBytes(x, w) + (fits(x, w) ? staged(x) : 0)));
        call.enqueue();
    }

    private Call arguments(Call call, Input input, Tensor x, Tensor gate, double inverseWidth, double epsilon, Tensor w,
            Tensor b, Tensor residual, Tensor y) {
        long group = Math.clamp(32 * Math.ceilDiv(x.dim(1), 32L * NORM_PIECES * lanes(x)), 32, THREADS);
        call.launch().grid(blocks(w));
        return call.begin().value(input.ordinal()).matrix(x).matrix(gate).value(inverseWidth).value(epsilon)
                .value((int) group).matrix(w).pointer(b).matrix(residual).matrix(y).value(x.dim(1)).value(w.dim(0))
                .value(rows(w)).value(fits(x, w) ? 1 : 0);
    }

    private boolean fits(Tensor x, Tensor w) {
        return sumBytes(x, w) + staged(x) <= sharedBytes;
    }

    /** The ring and the sums, in bytes. */
    private long sumBytes(Tensor x, Tensor w) {
        return RING_BYTES + 16 * Math.ceilDiv(x.dim(0) * (rows(w) + WARPS), 4);
    }

    /** Bytes of x, whose rows are filled up to whole chunks. */
    private static long staged(Tensor x) {
        return x.dim(0) * Math.ceilDiv(x.dim(1), 32 * lanes(x)) * 32 * 16;
    }

    /** One block for each multiprocessor, whose sums have room and that has a row. */
    public long blocks(Tensor w) {
        return Math.max(Math.min(processors, w.dim(0)), Math.ceilDiv(w.dim(0), ROWS));
    }

    private int rows(Tensor w) {
        return (int) Math.ceilDiv(w.dim(0), blocks(w));
    }

    /** Elements of 16 bytes. */
    private static int lanes(Tensor x) {
        return 16 / x.dtype().bytes();
    }
}
