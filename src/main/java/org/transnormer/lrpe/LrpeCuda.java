package org.transnormer.lrpe;

import org.transnormer.cuda.Call;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.RowTiles;
import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * {@link Lrpe} on a GPU, F32 or BF16, with θ in F32. The phase is formed and reduced in double, its cosine and sine are
 * polynomials in F32, good to 1e-7 absolute; dθ is summed over ranges of tokens in F32, and over the ranges in double.
 * The ranges depend on shapes only. SPEC section 3.2.
 */
public final class LrpeCuda implements Lrpe {
    private static final String STEM = "lrpe";
    private static final int THREADS = 256;
    /** Partial sums of dθ. */
    private static final long PARTS = 512;
    private static final long TOKENS_PER_PART = 16;
    private static final int SUM_COLUMNS = 32;
    private final Workspace workspace;
    private final Kernels f32;
    private final Kernels bf16;
    private final Call addSums;

    public LrpeCuda(Gpu gpu, Workspace workspace) {
        this.workspace = workspace;
        f32 = new Kernels(gpu, "f32");
        bf16 = new Kernels(gpu, "bf16");
        addSums = new Call(gpu, STEM, "lrpe_add_sums", "piiim");
        addSums.launch().block(SUM_COLUMNS, 32, 1);
    }

    private record Kernels(Call forward, Call backward) {
        Kernels(Gpu gpu, String type) {
            this(new Call(gpu, STEM, "lrpe_forward_" + type, "hmphlii"),
                    new Call(gpu, STEM, "lrpe_backward_" + type, "hmphhplii"));
        }
    }

    @Override
    public void reserve(long tokens, int heads, int channels) {
        announce(workspace, tokens, heads, channels);
    }

    /** The same for a plan, of a GPU that need not be there. */
    public static void announce(Workspace workspace, long tokens, int heads, int channels) {
        // a block may have up to THREADS tokens, which rounds the parts up
        workspace.reserve((Math.min(PARTS, Math.ceilDiv(tokens, TOKENS_PER_PART)) + THREADS) * heads * channels
                * Float.BYTES);
    }

    @Override
    public void forward(Tensor x, Tensor theta, Tensor positions, Tensor y) {
        LrpeArguments.forward(x, theta, positions, y);
        Arguments.f32OrBf16(STEM, "x", x);
        Arguments.f32(STEM, "theta", theta);
        Arguments.dtype(STEM, "y", y, x.dtype());
        if (x.size() == 0) {
            return;
        }
        Call call = kernels(x).forward().begin().heads(x).matrix(theta).pointer(positions).heads(y);
        cut(call, x, Math.ceilDiv(x.dim(0), 8));
        size(call, x).enqueue();
    }

    @Override
    public void backward(Tensor x, Tensor theta, Tensor positions, Tensor dy, Tensor dx, Tensor dtheta) {
        LrpeArguments.backward(x, theta, positions, dy, dx, dtheta);
        Arguments.f32OrBf16(STEM, "x", x);
        Arguments.f32(STEM, "theta", theta);
        Arguments.dtype(STEM, "dy", dy, x.dtype());
        Arguments.dtype(STEM, "dx", dx, x.dtype());
        Arguments.f32(STEM, "dtheta", dtheta);
        if (x.size() == 0) {
            return;
        }
        Call call = kernels(x).backward().begin().heads(x).matrix(theta).pointer(positions).heads(dy).heads(dx);
        int parts = cut(call, x, Math.min(PARTS, Math.ceilDiv(x.dim(0), TOKENS_PER_PART)));
        Tensor partial = workspace.get(parts * dtheta.size() * Float.BYTES);
        size(call.pointer(partial), x).enqueue();
        addSums.begin().pointer(partial).value(parts).value((int) x.dim(1)).value((int) x.dim(2)).matrix(dtheta);
        addSums.launch().grid(Math.ceilDiv(dtheta.size(), SUM_COLUMNS));
        addSums.enqueue();
    }

    /**
     * Sets grid and block.
     *
     * @param parts how many threads share out the tokens, at least
     * @return how many do
     */
    private static int cut(Call call, Tensor x, long parts) {
        long pieces = x.dim(1) * RowTiles.pieces(x.dim(2), x.dtype());
        int wide = RowTiles.width((int) Math.min(THREADS, pieces));
        int high = (int) Math.min(THREADS / wide, parts);
        long blocks = Math.ceilDiv(parts, high);
        call.launch().grid(blocks, Math.ceilDiv(pieces, wide), 1).block(wide, high, 1);
        return Math.toIntExact(blocks * high);
    }

    private static Call size(Call call, Tensor x) {
        return call.value(x.dim(0)).value((int) x.dim(1)).value((int) x.dim(2));
    }

    private Kernels kernels(Tensor x) {
        return x.dtype() == DType.F32 ? f32 : bf16;
    }
}
