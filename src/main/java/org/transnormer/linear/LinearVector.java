package org.transnormer.linear;

import static org.transnormer.simd.Simd.FLOAT;
import static org.transnormer.simd.Simd.LANES;
import static org.transnormer.simd.Simd.ORDER;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * The fast CPU twin. Activations and gradients are F32; w is F32 or BF16, widened exactly while it is read. It differs
 * from the spec in arithmetic only: each sum is one chain of F32 fused multiply-adds in increasing order of the summed
 * index, or, in a forward of at most four tokens with I a multiple of 32, 32 interleaved chains joined in a fixed tree;
 * then bias, then residual or the old value are added (SPEC section 3.4 bounds the error). Bits depend on nothing else:
 * not on threads, vector width or how work is cut.
 */
public final class LinearVector implements Linear {
    private static final ValueLayout.OfFloat ELEMENT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);
    /** Columns of one task of the bias gradient. */
    private static final long TASK_COLUMNS = 128;

    private final Workers workers;
    private final Workspace workspace;
    private final Gemm gemm;
    private final Workers.Task summing = this::sumColumns;
    private Tensor summed;
    private Tensor sums;
    private boolean addToSums;

    public LinearVector(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
        gemm = new Gemm(workers, workspace);
    }

    @Override
    public void forward(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor y) {
        LinearArguments.forward(x, w, b, residual, y);
        requireF32("x", x);
        requireWeight(w);
        requireF32("b", b);
        requireF32("residual", residual);
        requireF32("y", y);
        gemm.a.rowsOf(x);
        gemm.b.rowsOf(w);
        gemm.multiply(x.dim(0), w.dim(0), w.dim(1), y, residual, b);
    }

    @Override
    public void backwardInput(Tensor dy, Tensor w, Tensor dx, boolean accumulate) {
        LinearArguments.backwardInput(dy, w, dx);
        requireF32("dy", dy);
        requireWeight(w);
        requireF32("dx", dx);
        gemm.a.rowsOf(dy);
        gemm.b.columnsOf(w);
        gemm.multiply(dy.dim(0), w.dim(1), w.dim(0), dx, accumulate ? dx : null, null);
    }

    @Override
    public void backwardWeight(Tensor x, Tensor dy, Tensor dw, Tensor db, boolean accumulate) {
        LinearArguments.backwardWeight(x, dy, dw, db);
        requireF32("x", x);
        requireF32("dy", dy);
        requireF32("dw", dw);
        requireF32("db", db);
        gemm.a.columnsOf(dy);
        gemm.b.columnsOf(x);
        gemm.multiply(dy.dim(1), x.dim(1), x.dim(0), dw, accumulate ? dw : null, null);
        if (db != null) {
            summed = dy;
            sums = db;
            addToSums = accumulate;
            workers.run(Math.ceilDiv(dy.dim(1), TASK_COLUMNS), summing);
        }
    }

    @Override
    public void reserve(long tokens, long in, long out) {
        int threads = workers.threads();
        workspace.reserve(Gemm.scratchBytes(tokens, out, in, threads));
        workspace.reserve(Gemm.scratchBytes(tokens, in, out, threads));
        workspace.reserve(Gemm.scratchBytes(out, in, tokens, threads));
    }

    /** One chain of additions over the tokens for each column. */
    private void sumColumns(long task, int worker) {
        MemorySegment from = summed.segment();
        MemorySegment to = sums.segment();
        long row = summed.stride(0) * 4;
        long tokens = summed.dim(0);
        long end = Math.min(summed.dim(1), (task + 1) * TASK_COLUMNS);
        long i = task * TASK_COLUMNS;
        for (; i + LANES <= end; i += LANES) {
            long at = summed.byteOffset() + i * 4;
            long target = sums.byteOffset() + i * 4;
            FloatVector sum = FloatVector.zero(FLOAT);
            for (long t = 0; t < tokens; t++) {
                sum = sum.add(FloatVector.fromMemorySegment(FLOAT, from, at + t * row, ORDER));
            }
            if (addToSums) {
                FloatVector.fromMemorySegment(FLOAT, to, target, ORDER).add(sum).intoMemorySegment(to, target, ORDER);
            } else {
                sum.intoMemorySegment(to, target, ORDER);
            }
        }
        for (; i < end; i++) {
            long at = summed.byteOffset() + i * 4;
            long target = sums.byteOffset() + i * 4;
            float sum = 0;
            for (long t = 0; t < tokens; t++) {
                sum += from.get(ELEMENT, at + t * row);
            }
            to.set(ELEMENT, target, addToSums ? to.get(ELEMENT, target) + sum : sum);
        }
    }

    private static void requireF32(String role, Tensor t) {
        if (t != null && t.dtype() != DType.F32) {
            throw new IllegalArgumentException("linear: %s is %s, the vector twin wants F32".formatted(role, t));
        }
    }

    private static void requireWeight(Tensor w) {
        if (w.dtype() != DType.F32 && w.dtype() != DType.BF16) {
            throw new IllegalArgumentException("linear: w is %s, the vector twin wants F32 or BF16".formatted(w));
        }
    }
}
