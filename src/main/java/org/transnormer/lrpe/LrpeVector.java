package org.transnormer.lrpe;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Rows;
import org.transnormer.simd.Simd;
import org.transnormer.simd.VectorMath;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * {@link Lrpe} on F32. A thread makes the cosines and sines of all rates at one position, then weights that token. They
 * are polynomials of a phase that is reduced without error, good to 1e-7 absolute, instead of the spec's; dθ is summed
 * over at most {@link #PARTS} ranges of tokens, and then over the ranges in order, instead of over all tokens at once.
 * The ranges depend on T only. SPEC section 3.2.
 */
public final class LrpeVector implements Lrpe {
    /** Partial sums of dθ: they bound its scratch memory at any T, and are plenty to share out. */
    private static final long PARTS = 64;
    private static final long TOKENS_PER_PART = 16;
    private final Workers workers;
    private final Workspace workspace;

    public LrpeVector(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
    }

    @Override
    public void reserve(long tokens, int heads, int channels) {
        workspace.reserve(tableBytes(heads, channels) * workers.threads()
                + parts(tokens) * heads * channels * Float.BYTES);
    }

    @Override
    public void forward(Tensor x, Tensor theta, Tensor positions, Tensor y) {
        LrpeArguments.forward(x, theta, positions, y);
        f32("x", x);
        f32("theta", theta);
        f32("y", y);
        long heads = x.dim(1);
        long d = x.dim(2);
        long table = tableBytes(heads, d);
        Tensor scratch = workspace.get(table * workers.threads());
        long perTask = Rows.perTask(heads * d);
        workers.run(Rows.tasks(x.dim(0), heads * d), (task, worker) -> {
            long cos = scratch.byteOffset() + worker * table;
            long sin = cos + table / 2;
            long end = Math.min(x.dim(0), (task + 1) * perTask);
            for (long t = task * perTask; t < end; t++) {
                VectorMath.cosSin(theta.segment(), theta.byteOffset(), heads * d, positions.getInt(t),
                        scratch.segment(), cos, scratch.segment(), sin);
                for (long h = 0; h < heads; h++) {
                    long row = h * d * Float.BYTES;
                    weight(x.segment(), at(x, t, h), scratch.segment(), cos + row, sin + row, y.segment(), at(y, t, h),
                            d);
                }
            }
        });
    }

    @Override
    public void backward(Tensor x, Tensor theta, Tensor positions, Tensor dy, Tensor dx, Tensor dtheta) {
        LrpeArguments.backward(x, theta, positions, dy, dx, dtheta);
        f32("x", x);
        f32("theta", theta);
        f32("dy", dy);
        f32("dx", dx);
        f32("dtheta", dtheta);
        long tokens = x.dim(0);
        long heads = x.dim(1);
        long d = x.dim(2);
        long table = tableBytes(heads, d);
        long parts = parts(tokens);
        long perPart = Math.ceilDiv(tokens, Math.max(1, parts));
        Tensor scratch = workspace.get(table * workers.threads() + parts * heads * d * Float.BYTES);
        long partsAt = scratch.byteOffset() + table * workers.threads();
        MemorySegment memory = scratch.segment();
        workers.run(parts, (part, worker) -> {
            long cos = scratch.byteOffset() + worker * table;
            long sin = cos + table / 2;
            long sum = partsAt + part * heads * d * Float.BYTES;
            memory.asSlice(sum, heads * d * Float.BYTES).fill((byte) 0);
            long end = Math.min(tokens, (part + 1) * perPart);
            for (long t = part * perPart; t < end; t++) {
                int p = positions.getInt(t);
                VectorMath.cosSin(theta.segment(), theta.byteOffset(), heads * d, p, memory, cos, memory, sin);
                for (long h = 0; h < heads; h++) {
                    long row = h * d * Float.BYTES;
                    unweight(x.segment(), at(x, t, h), memory, cos + row, sin + row, dy.segment(), at(dy, t, h),
                            dx.segment(), at(dx, t, h), sum + row, p, d);
                }
            }
        });
        for (long part = 0; part < parts; part++) {
            for (long h = 0; h < heads; h++) {
                add(memory, partsAt + (part * heads + h) * d * Float.BYTES, dtheta.segment(), at(dtheta, h), d);
            }
        }
    }

    /** y = x cos ‖ x sin over the d channels of a head; offsets in bytes, here and below. */
    private static void weight(MemorySegment x, long xAt, MemorySegment table, long cosAt, long sinAt, MemorySegment y,
            long yAt, long d) {
        weigh(x, xAt, table, cosAt, y, yAt, d);
        weigh(x, xAt, table, sinAt, y, yAt + d * Float.BYTES, d);
    }

    private static void weigh(MemorySegment x, long xAt, MemorySegment table, long tableAt, MemorySegment y, long yAt,
            long d) {
        long j = 0;
        for (; j <= d - Simd.LANES; j += Simd.LANES) {
            long at = j * Float.BYTES;
            load(x, xAt + at).mul(load(table, tableAt + at)).intoMemorySegment(y, yAt + at, Simd.ORDER);
        }
        for (; j < d; j++) {
            long at = j * Float.BYTES;
            y.set(Simd.ELEMENT, yAt + at, x.get(Simd.ELEMENT, xAt + at) * table.get(Simd.ELEMENT, tableAt + at));
        }
    }

    /** dx = da cos + db sin, and p x (db cos - da sin) added to the sum of dθ. */
    private static void unweight(MemorySegment x, long xAt, MemorySegment table, long cosAt, long sinAt,
            MemorySegment dy, long dyAt, MemorySegment dx, long dxAt, long sumAt, float p, long d) {
        long half = d * Float.BYTES;
        long j = 0;
        for (; j <= d - Simd.LANES; j += Simd.LANES) {
            long at = j * Float.BYTES;
            FloatVector cos = load(table, cosAt + at);
            FloatVector sin = load(table, sinAt + at);
            FloatVector da = load(dy, dyAt + at);
            FloatVector db = load(dy, dyAt + half + at);
            FloatVector slope = db.mul(cos).sub(da.mul(sin));
            load(x, xAt + at).mul(p).fma(slope, load(table, sumAt + at)).intoMemorySegment(table, sumAt + at,
                    Simd.ORDER);
            da.mul(cos).add(db.mul(sin)).intoMemorySegment(dx, dxAt + at, Simd.ORDER);
        }
        for (; j < d; j++) {
            long at = j * Float.BYTES;
            float cos = table.get(Simd.ELEMENT, cosAt + at);
            float sin = table.get(Simd.ELEMENT, sinAt + at);
            float da = dy.get(Simd.ELEMENT, dyAt + at);
            float db = dy.get(Simd.ELEMENT, dyAt + half + at);
            float slope = db * cos - da * sin;
            table.set(Simd.ELEMENT, sumAt + at,
                    Math.fma(x.get(Simd.ELEMENT, xAt + at) * p, slope, table.get(Simd.ELEMENT, sumAt + at)));
            dx.set(Simd.ELEMENT, dxAt + at, da * cos + db * sin);
        }
    }

    private static void add(MemorySegment part, long partAt, MemorySegment sum, long sumAt, long d) {
        long j = 0;
        for (; j <= d - Simd.LANES; j += Simd.LANES) {
            long at = j * Float.BYTES;
            load(sum, sumAt + at).add(load(part, partAt + at)).intoMemorySegment(sum, sumAt + at, Simd.ORDER);
        }
        for (; j < d; j++) {
            long at = j * Float.BYTES;
            sum.set(Simd.ELEMENT, sumAt + at, sum.get(Simd.ELEMENT, sumAt + at) + part.get(Simd.ELEMENT, partAt + at));
        }
    }

    private static FloatVector load(MemorySegment x, long at) {
        return FloatVector.fromMemorySegment(Simd.FLOAT, x, at, Simd.ORDER);
    }

    private static long parts(long tokens) {
        return Math.min(PARTS, Math.ceilDiv(tokens, TOKENS_PER_PART));
    }

    /** A cosine and a sine per channel, each half on a cache line of its own. */
    private static long tableBytes(long heads, long d) {
        return 2 * Math.ceilDiv(heads * d * Float.BYTES, 64) * 64;
    }

    private static long at(Tensor x, long t, long h) {
        return x.byteOffset() + (t * x.stride(0) + h * x.stride(1)) * Float.BYTES;
    }

    private static long at(Tensor x, long h) {
        return x.byteOffset() + h * x.stride(0) * Float.BYTES;
    }

    private static void f32(String role, Tensor t) {
        Arguments.f32("lrpe", role, t);
    }
}
