package org.transnormer.srmsnorm;

import java.util.Locale;
import org.transnormer.cuda.Call;
import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * What the CUDA twins of the norms share: the kernels of {@code cuda/norm.cuh}, and how rows are cut into threads. Rows
 * of up to {@link #MAX_GROUP} threads go through forward and backward in one pass, wider ones in two. SPEC section 3.1.
 */
final class NormKernels {
    /** Threads of a row, each with {@link #PIECES} loads of 16 bytes. */
    private static final int MAX_GROUP = 512;
    private static final int PIECES = 2;
    private static final int WARP = 32;
    private static final int BLOCK = 128;
    /** Rows of partial sums of a parameter's gradient. */
    private static final long PARTS = 1024;
    private static final int SUM_COLUMNS = 32;

    private final Norm norm;
    private final NormType type;
    private final double epsilon;
    private final Workspace workspace;
    private final Calls f32;
    private final Calls bf16;
    private final Call addSums;

    /** @param workspace null for a norm without parameters */
    NormKernels(Norm norm, NormType type, double epsilon, Gpu gpu, Workspace workspace) {
        this.norm = norm;
        this.type = type;
        this.epsilon = epsilon;
        this.workspace = workspace;
        String stem = type.name().toLowerCase(Locale.ROOT);
        f32 = new Calls(gpu, stem, "f32");
        bf16 = new Calls(gpu, stem, "bf16");
        addSums = type.hasWeight() ? new Call(gpu, stem, stem + "_add_sums", "piip") : null;
    }

    private record Calls(Call partial, Call apply, Call forward, Call backwardPartial, Call backwardApply,
            Call backward) {
        private static final String GRADIENTS = "mmmddppmmmmmpll";

        Calls(Gpu gpu, String stem, String dtype) {
            this(new Call(gpu, stem, stem + "_partial_" + dtype, "mmll"),
                    new Call(gpu, stem, stem + "_apply_" + dtype, "mmddppmmll"),
                    new Call(gpu, stem, stem + "_forward_" + dtype, "mmddppmmll").overlapping(),
                    new Call(gpu, stem, stem + "_backward_partial_" + dtype, "mmddppmmmll"),
                    new Call(gpu, stem, stem + "_backward_apply_" + dtype, GRADIENTS),
                    new Call(gpu, stem, stem + "_backward_" + dtype, GRADIENTS));
        }
    }

    Workspace workspace() {
        return workspace;
    }

    static void reserve(Workspace workspace, NormType type, long channels) {
        workspace.reserve(partialBytes(type, PARTS + BLOCK / WARP, channels));
    }

    void partial(Tensor x, Tensor statistics) {
        NormArguments.partial(norm, x, statistics);
        NormArguments.device(norm, x, statistics, null);
        if (x.dim(0) > 0) {
            run(calls(x).partial().begin().matrix(x).matrix(statistics), x, x.dim(0), 1);
        }
    }

    void apply(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y) {
        checkForward(x, statistics, width, parameters, gate, y);
        if (x.size() > 0) {
            forward(calls(x).apply(), x, statistics, width, parameters, gate, y, pieces(x));
        }
    }

    /** Where the row is too wide the statistics come first. */
    void forward(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor y) {
        checkForward(x, statistics, width, parameters, gate, y);
        if (pieces(x) != 1) {
            partial(x, statistics);
            apply(x, statistics, width, parameters, gate, y);
        } else if (x.dim(0) > 0) {
            forward(calls(x).forward(), x, statistics, width, parameters, gate, y, 1);
        }
    }

    void backwardPartial(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate, Tensor dy,
            Tensor sums) {
        NormArguments.backwardPartial(norm, x, statistics, width, parameters, gate, dy, sums);
        NormArguments.device(norm, x, statistics, sums, gate, dy);
        if (x.dim(0) > 0) {
            Call call = calls(x).backwardPartial().begin().matrix(x).matrix(statistics);
            parameters(call, width, parameters).matrix(gate).matrix(dy).matrix(sums);
            run(call, x, x.dim(0), 1);
        }
    }

    void backwardApply(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        checkBackward(x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate, dparameters);
        if (x.size() > 0) {
            backward(calls(x).backwardApply(), x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate,
                    dparameters, pieces(x));
        }
    }

    void backward(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters, Tensor gate,
            Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        checkBackward(x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate, dparameters);
        if (pieces(x) != 1) {
            backwardPartial(x, statistics, width, parameters, gate, dy, sums);
            backwardApply(x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate, dparameters);
        } else if (x.dim(0) > 0) {
            backward(calls(x).backward(), x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate,
                    dparameters, 1);
        }
    }

    private void forward(Call call, Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate,
            Tensor y, long pieces) {
        call.begin().matrix(x).matrix(statistics);
        run(parameters(call, width, parameters).matrix(gate).matrix(y), x, x.dim(0), pieces);
    }

    private void backward(Call call, Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters,
            Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters,
            long pieces) {
        boolean summed = type.hasWeight();
        long lines = summed ? Math.min(PARTS, x.dim(0)) : x.dim(0);
        int parts = Math.toIntExact(Math.ceilDiv(lines, rows(x)) * rows(x));
        Tensor partial = summed ? workspace.get(partialBytes(type, parts, x.dim(1))) : null;
        call.begin().matrix(x).matrix(statistics).matrix(sums);
        parameters(call, width, parameters).matrix(gate).matrix(dy).matrix(residual).matrix(dx).matrix(dgate)
                .pointer(partial);
        run(call, x, lines, pieces);
        if (type.hasWeight()) {
            add(partial, 0, parts, x.dim(1), dparameters.weight());
        }
        if (type.hasBias()) {
            add(partial, parts * x.dim(1), parts, x.dim(1), dparameters.bias());
        }
    }

    /** gradient += the sum of {@code parts} rows of partial sums, the first of which begins at element {@code from}. */
    private void add(Tensor partial, long from, int parts, long channels, Tensor gradient) {
        addSums.begin().pointer(partial.slice(0, from, partial.dim(0))).value(parts).value(Math.toIntExact(channels))
                .pointer(gradient);
        addSums.launch().grid(Math.ceilDiv(channels, SUM_COLUMNS)).block(SUM_COLUMNS, 32, 1);
        addSums.enqueue();
    }

    private Call parameters(Call call, long width, NormParameters parameters) {
        return call.value(1.0 / width).value(epsilon).pointer(parameters.weight()).pointer(parameters.bias());
    }

    /** @param lines rows that threads start with */
    private static void run(Call call, Tensor x, long lines, long pieces) {
        call.value(x.dim(0)).value(x.dim(1));
        call.launch().grid(Math.ceilDiv(lines, rows(x)), pieces, 1).block(group(x), rows(x), 1);
        call.enqueue();
    }

    /** Threads of a row. */
    private static int group(Tensor x) {
        long warps = Math.ceilDiv(x.dim(1), WARP * elements(x));
        return Math.clamp(WARP * warps, WARP, MAX_GROUP);
    }

    /** Rows of a block. */
    private static int rows(Tensor x) {
        return Math.max(1, BLOCK / group(x));
    }

    /** What a group must take a row in; 0 if it has no channels. */
    private static long pieces(Tensor x) {
        return Math.ceilDiv(x.dim(1), group(x) * elements(x));
    }

    /** Elements of a row that a thread holds. */
    private static long elements(Tensor x) {
        return PIECES * 16L / x.dtype().bytes();
    }

    private static long partialBytes(NormType type, long parts, long channels) {
        return (type.hasBias() ? 2 : 1) * parts * channels * Float.BYTES;
    }

    private Calls calls(Tensor x) {
        return x.dtype() == DType.F32 ? f32 : bf16;
    }

    private void checkForward(Tensor x, Tensor statistics, long width, NormParameters parameters, Tensor gate,
            Tensor y) {
        NormArguments.apply(norm, x, statistics, width, parameters, gate, y);
        NormArguments.device(norm, x, statistics, null, gate, y);
        NormArguments.f32(norm, parameters.weight(), parameters.bias());
    }

    private void checkBackward(Tensor x, Tensor statistics, Tensor sums, long width, NormParameters parameters,
            Tensor gate, Tensor dy, Tensor residual, Tensor dx, Tensor dgate, NormParameters dparameters) {
        NormArguments.backwardApply(norm, x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate,
                dparameters);
        NormArguments.device(norm, x, statistics, sums, gate, dy, residual, dx, dgate);
        NormArguments.f32(norm, parameters.weight(), parameters.bias(), dparameters.weight(), dparameters.bias());
    }
}
