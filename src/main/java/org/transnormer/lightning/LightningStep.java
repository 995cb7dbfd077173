package org.transnormer.lightning;

import static jdk.incubator.vector.FloatVector.broadcast;
import static jdk.incubator.vector.FloatVector.fromMemorySegment;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

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
    private static final ByteOrder ORDER = Simd.ORDER;
    private static final long LANES = Simd.LANES;
    private static final long FLOAT = Float.BYTES;
    private static final long W = LANES * FLOAT;
    /** Bytes of state for which it is worth waking a thread. */
    private static final long GRAIN = 1 << 18;
    private static final ValueLayout.OfFloat LAYOUT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(Simd.ORDER);

    private final Workers workers;
    private final Workspace workspace;
    /** One for each thread. */
    private final Pair[] pairs;

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
        this.pairs = new Pair[workers.threads()];
        Arrays.setAll(pairs, i -> new Pair());
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
        long count = sequences.count() * q.dim(1);
        tasks = Math.min(count, Math.ceilDiv(count * q.dim(2) * v.dim(2) * FLOAT, GRAIN));
        workers.run(tasks, this);
    }

    @Override
    public void run(long index, int worker) {
        long heads = q.dim(1);
        long count = sequences.count() * heads;
        for (long pair = index * count / tasks; pair < (index + 1) * count / tasks; pair++) {
            int n = (int) (pair / heads);
            if (sequences.length(n) == 1) {
                step(n, pair % heads, worker);
            }
        }
    }

    /** A state or value that is absent is a row of zeros; a state that nobody wants goes to a row that nobody reads. */
    private void step(int n, long h, int worker) {
        Pair pair = pairs[worker];
        long token = sequences.offset(n);
        long dv = v.dim(2);
        boolean starts = initial != null && sequences.slot(n) != Sequences.NO_SLOT;
        boolean ends = last != null && sequences.slot(n) != Sequences.NO_SLOT;
        boolean counts = mask == null || mask.getInt(token) != 0;
        pair.from = starts ? initial.segment() : scratch;
        pair.fromAt = starts ? stateOffset(initial, n, h) : 0;
        pair.fromRow = starts ? dv * FLOAT : 0;
        pair.to = ends ? last.segment() : scratch;
        pair.toAt = ends ? stateOffset(last, n, h) : (1 + worker) * LightningTiles.pad(dv) * FLOAT;
        pair.toRow = ends ? dv * FLOAT : 0;
        pair.values = counts ? v.segment() : scratch;
        pair.valuesAt = counts ? offset(v, token, h) : 0;
        pair.queries = q.segment();
        pair.queryAt = offset(q, token, h);
        pair.keys = k.segment();
        pair.keyAt = offset(k, token, h);
        pair.outputs = o.segment();
        pair.outputAt = offset(o, token, h);
        pair.rows = q.dim(2);
        double lambda = StrictMath.exp(-rates.get(h));
        pair.high = (float) lambda;
        pair.low = (float) (lambda - (float) lambda);
        long column = 0;
        for (; column + 4 * LANES <= dv; column += 4 * LANES) {
            pair.fourVectors(column * FLOAT);
        }
        for (; column < dv; column += LANES) {
            pair.oneVector(column * FLOAT, SPECIES.indexInRange(column, dv).toLong());
        }
    }

    private long stateOffset(Tensor states, int n, long h) {
        return states.byteOffset() + (sequences.slot(n) * states.dim(1) + h) * states.stride(1) * FLOAT;
    }

    private static long offset(Tensor x, long token, long h) {
        return x.byteOffset() + (token * x.stride(0) + h * x.stride(1)) * FLOAT;
    }

    /**
     * Where a head of a sequence has its operands. The work on its columns is in methods of their own, small enough for
     * each of the compilers: one that the first of them gives up never reaches the second.
     */
    private static final class Pair {
        private MemorySegment from;
        private long fromAt;
        private long fromRow;
        private MemorySegment to;
        private long toAt;
        private long toRow;
        private MemorySegment values;
        private long valuesAt;
        private MemorySegment queries;
        private long queryAt;
        private MemorySegment keys;
        private long keyAt;
        private MemorySegment outputs;
        private long outputAt;
        private long rows;
        private float high;
        private float low;

        private void fourVectors(long at) {
            MemorySegment source = from;
            MemorySegment target = to;
            MemorySegment query = queries;
            MemorySegment key = keys;
            long sourceAt = fromAt + at;
            long sourceRow = fromRow;
            long targetAt = toAt + at;
            long targetRow = toRow;
            long qAt = queryAt;
            long kAt = keyAt;
            long count = rows;
            FloatVector highs = broadcast(SPECIES, high);
            FloatVector lows = broadcast(SPECIES, low);
            FloatVector v0 = fromMemorySegment(SPECIES, values, valuesAt + at, ORDER);
            FloatVector v1 = fromMemorySegment(SPECIES, values, valuesAt + at + W, ORDER);
            FloatVector v2 = fromMemorySegment(SPECIES, values, valuesAt + at + 2 * W, ORDER);
            FloatVector v3 = fromMemorySegment(SPECIES, values, valuesAt + at + 3 * W, ORDER);
            FloatVector o0 = FloatVector.zero(SPECIES);
            FloatVector o1 = o0;
            FloatVector o2 = o0;
            FloatVector o3 = o0;
            for (long i = 0; i < count; i++) {
                FloatVector ki = broadcast(SPECIES, key.get(LAYOUT, kAt));
                FloatVector qi = broadcast(SPECIES, query.get(LAYOUT, qAt));
                FloatVector s0 = fromMemorySegment(SPECIES, source, sourceAt, ORDER);
                FloatVector s1 = fromMemorySegment(SPECIES, source, sourceAt + W, ORDER);
                FloatVector s2 = fromMemorySegment(SPECIES, source, sourceAt + 2 * W, ORDER);
                FloatVector s3 = fromMemorySegment(SPECIES, source, sourceAt + 3 * W, ORDER);
                s0 = s0.fma(highs, ki.fma(v0, s0.mul(lows)));
                s1 = s1.fma(highs, ki.fma(v1, s1.mul(lows)));
                s2 = s2.fma(highs, ki.fma(v2, s2.mul(lows)));
                s3 = s3.fma(highs, ki.fma(v3, s3.mul(lows)));
                s0.intoMemorySegment(target, targetAt, ORDER);
                s1.intoMemorySegment(target, targetAt + W, ORDER);
                s2.intoMemorySegment(target, targetAt + 2 * W, ORDER);
                s3.intoMemorySegment(target, targetAt + 3 * W, ORDER);
                o0 = qi.fma(s0, o0);
                o1 = qi.fma(s1, o1);
                o2 = qi.fma(s2, o2);
                o3 = qi.fma(s3, o3);
                kAt += FLOAT;
                qAt += FLOAT;
                sourceAt += sourceRow;
                targetAt += targetRow;
            }
            o0.intoMemorySegment(outputs, outputAt + at, ORDER);
            o1.intoMemorySegment(outputs, outputAt + at + W, ORDER);
            o2.intoMemorySegment(outputs, outputAt + at + 2 * W, ORDER);
            o3.intoMemorySegment(outputs, outputAt + at + 3 * W, ORDER);
        }

        /** @param lanes bit i: whether lane i counts */
        private void oneVector(long at, long lanes) {
            MemorySegment source = from;
            MemorySegment target = to;
            MemorySegment query = queries;
            MemorySegment key = keys;
            long sourceAt = fromAt + at;
            long sourceRow = fromRow;
            long targetAt = toAt + at;
            long targetRow = toRow;
            long qAt = queryAt;
            long kAt = keyAt;
            long count = rows;
            VectorMask<Float> mask = VectorMask.fromLong(SPECIES, lanes);
            FloatVector highs = broadcast(SPECIES, high);
            FloatVector lows = broadcast(SPECIES, low);
            FloatVector v0 = fromMemorySegment(SPECIES, values, valuesAt + at, ORDER, mask);
            FloatVector o0 = FloatVector.zero(SPECIES);
            for (long i = 0; i < count; i++) {
                FloatVector s0 = fromMemorySegment(SPECIES, source, sourceAt, ORDER, mask);
                s0 = s0.fma(highs, broadcast(SPECIES, key.get(LAYOUT, kAt)).fma(v0, s0.mul(lows)));
                s0.intoMemorySegment(target, targetAt, ORDER, mask);
                o0 = broadcast(SPECIES, query.get(LAYOUT, qAt)).fma(s0, o0);
                kAt += FLOAT;
                qAt += FLOAT;
                sourceAt += sourceRow;
                targetAt += targetRow;
            }
            o0.intoMemorySegment(outputs, outputAt + at, ORDER, mask);
        }
    }
}
