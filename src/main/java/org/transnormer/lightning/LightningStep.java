package org.transnormer.lightning;

import static jdk.incubator.vector.FloatVector.broadcast;
import static jdk.incubator.vector.FloatVector.fromMemorySegment;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.simd.Workspace;
import org.transnormer.tensor.Tensor;

/**
 * The recurrence for the sequences of one token, that is for decoding: one pass over the state, at the speed of memory.
 *
 * <pre>
 * S_ij ← λ S_ij + k_i v_j        o_j = Σ_i q_i S_ij, in the order of i
 * </pre>
 *
 * λ counts with twice the precision of F32: rounded to F32 it would be off by up to 2^-25, and the weight of a token
 * n steps back by n times as much.
 */
final class LightningStep implements Workers.Task {
    private static final VectorSpecies<Float> SPECIES = Simd.FLOAT;
    private static final long LANES = Simd.LANES;
    private static final long FLOAT = Float.BYTES;
    private static final long W = LANES * FLOAT;
    /** Bytes of state for which it is worth waking a thread. */
    private static final long GRAIN = 1 << 18;
    private static final ValueLayout.OfFloat LAYOUT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(Simd.ORDER);

    private final Workers workers;
    private final Workspace workspace;

    private Tensor q;
    private Tensor k;
    private Tensor v;
    private Tensor rates;
    private Sequences sequences;
    private Tensor mask;
    private Tensor initial;
    private Tensor o;
    private Tensor last;
    private MemorySegment scratch;
    private long tasks;

    LightningStep(Workers workers, Workspace workspace) {
        this.workers = workers;
        this.workspace = workspace;
    }

    /** Scratch: a row of zeros, and a row per thread for states that nobody wants. */
    static long bytes(int threads, long dv) {
        return (1 + threads) * LightningTiles.pad(dv) * FLOAT;
    }

    void run(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial, Tensor o,
            Tensor last) {
        this.q = q;
        this.k = k;
        this.v = v;
        this.rates = rates;
        this.sequences = sequences;
        this.mask = mask;
        this.initial = initial;
        this.o = o;
        this.last = last;
        scratch = workspace.get(bytes(workers.threads(), v.dim(2))).segment();
        LightningTiles.zero(scratch, 0, LightningTiles.pad(v.dim(2)));
        long pairs = sequences.count() * q.dim(1);
        tasks = Math.min(pairs, Math.ceilDiv(pairs * q.dim(2) * v.dim(2) * FLOAT, GRAIN));
        workers.run(tasks, this);
    }

    @Override
    public void run(long index, int worker) {
        long heads = q.dim(1);
        long pairs = sequences.count() * heads;
        for (long pair = index * pairs / tasks; pair < (index + 1) * pairs / tasks; pair++) {
            int n = (int) (pair / heads);
            if (sequences.length(n) == 1) {
                step(n, pair % heads, worker);
            }
        }
    }

    /** A state or value that is absent is a row of zeros; a state that nobody wants goes to a row that nobody reads. */
    private void step(int n, long h, int worker) {
        long token = sequences.offset(n);
        long rows = q.dim(2);
        long dv = v.dim(2);
        long width = dv * FLOAT;
        boolean starts = initial != null && sequences.slot(n) != Sequences.NO_SLOT;
        boolean ends = last != null && sequences.slot(n) != Sequences.NO_SLOT;
        boolean counts = mask == null || mask.getInt(token) != 0;
        MemorySegment from = starts ? initial.segment() : scratch;
        long fromAt = starts ? stateOffset(initial, n, h) : 0;
        long fromRow = starts ? width : 0;
        MemorySegment to = ends ? last.segment() : scratch;
        long toAt = ends ? stateOffset(last, n, h) : (1 + worker) * LightningTiles.pad(dv) * FLOAT;
        long toRow = ends ? width : 0;
        MemorySegment values = counts ? v.segment() : scratch;
        long valuesAt = counts ? offset(v, token, h) : 0;
        MemorySegment queries = q.segment();
        long queryAt = offset(q, token, h);
        MemorySegment keys = k.segment();
        long keyAt = offset(k, token, h);
        MemorySegment outputs = o.segment();
        long outputAt = offset(o, token, h);
        double lambda = StrictMath.exp(-rates.get(h));
        FloatVector high = broadcast(SPECIES, (float) lambda);
        FloatVector low = broadcast(SPECIES, (float) (lambda - (float) lambda));
        long at = 0;
        for (; at + 4 * W <= width; at += 4 * W) {
            FloatVector v0 = fromMemorySegment(SPECIES, values, valuesAt + at, Simd.ORDER);
            FloatVector v1 = fromMemorySegment(SPECIES, values, valuesAt + at + W, Simd.ORDER);
            FloatVector v2 = fromMemorySegment(SPECIES, values, valuesAt + at + 2 * W, Simd.ORDER);
            FloatVector v3 = fromMemorySegment(SPECIES, values, valuesAt + at + 3 * W, Simd.ORDER);
            FloatVector o0 = FloatVector.zero(SPECIES);
            FloatVector o1 = o0;
            FloatVector o2 = o0;
            FloatVector o3 = o0;
            long source = fromAt + at;
            long target = toAt + at;
            for (long i = 0; i < rows; i++, source += fromRow, target += toRow) {
                FloatVector ki = broadcast(SPECIES, keys.get(LAYOUT, keyAt + i * FLOAT));
                FloatVector qi = broadcast(SPECIES, queries.get(LAYOUT, queryAt + i * FLOAT));
                FloatVector s0 = fromMemorySegment(SPECIES, from, source, Simd.ORDER);
                FloatVector s1 = fromMemorySegment(SPECIES, from, source + W, Simd.ORDER);
                FloatVector s2 = fromMemorySegment(SPECIES, from, source + 2 * W, Simd.ORDER);
                FloatVector s3 = fromMemorySegment(SPECIES, from, source + 3 * W, Simd.ORDER);
                s0 = s0.fma(high, ki.fma(v0, s0.mul(low)));
                s1 = s1.fma(high, ki.fma(v1, s1.mul(low)));
                s2 = s2.fma(high, ki.fma(v2, s2.mul(low)));
                s3 = s3.fma(high, ki.fma(v3, s3.mul(low)));
                s0.intoMemorySegment(to, target, Simd.ORDER);
                s1.intoMemorySegment(to, target + W, Simd.ORDER);
                s2.intoMemorySegment(to, target + 2 * W, Simd.ORDER);
                s3.intoMemorySegment(to, target + 3 * W, Simd.ORDER);
                o0 = qi.fma(s0, o0);
                o1 = qi.fma(s1, o1);
                o2 = qi.fma(s2, o2);
                o3 = qi.fma(s3, o3);
            }
            o0.intoMemorySegment(outputs, outputAt + at, Simd.ORDER);
            o1.intoMemorySegment(outputs, outputAt + at + W, Simd.ORDER);
            o2.intoMemorySegment(outputs, outputAt + at + 2 * W, Simd.ORDER);
            o3.intoMemorySegment(outputs, outputAt + at + 3 * W, Simd.ORDER);
        }
        for (; at < width; at += W) {
            VectorMask<Float> lanes = SPECIES.indexInRange(at / FLOAT, dv);
            FloatVector v0 = fromMemorySegment(SPECIES, values, valuesAt + at, Simd.ORDER, lanes);
            FloatVector o0 = FloatVector.zero(SPECIES);
            long source = fromAt + at;
            long target = toAt + at;
            for (long i = 0; i < rows; i++, source += fromRow, target += toRow) {
                FloatVector s0 = fromMemorySegment(SPECIES, from, source, Simd.ORDER, lanes);
                s0 = s0.fma(high, broadcast(SPECIES, keys.get(LAYOUT, keyAt + i * FLOAT)).fma(v0, s0.mul(low)));
                s0.intoMemorySegment(to, target, Simd.ORDER, lanes);
                o0 = broadcast(SPECIES, queries.get(LAYOUT, queryAt + i * FLOAT)).fma(s0, o0);
            }
            o0.intoMemorySegment(outputs, outputAt + at, Simd.ORDER, lanes);
        }
    }

    private long stateOffset(Tensor states, int n, long h) {
        return states.byteOffset() + (sequences.slot(n) * states.dim(1) + h) * states.stride(1) * FLOAT;
    }

    private static long offset(Tensor x, long token, long h) {
        return x.byteOffset() + (token * x.stride(0) + h * x.stride(1)) * FLOAT;
    }
}
