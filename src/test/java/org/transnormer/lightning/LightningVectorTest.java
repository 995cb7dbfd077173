package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.withinPercentage;
import static org.transnormer.lightning.LightningCall.assertSameBits;

import java.util.Collections;
import java.util.List;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.lifecycle.AfterContainer;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.SameBits;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

class LightningVectorTest implements LightningContract {
    /** Long enough to be worked on chunk by chunk. */
    private static final int LONG = 64 * 40 + 7;
    private static final HostMemory MEMORY = new HostMemory();
    private static final Workers WORKERS = new Workers(2);
    private static final LightningVector SUBJECT = new LightningVector(WORKERS, new Workspace(MEMORY));

    @AfterContainer
    static void close() {
        WORKERS.close();
        MEMORY.close();
    }

    @Override
    public LightningAttention subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    /**
     * Measured up to T 2000 and 256 x 128 where signs are mixed: at most 6 and 0.9; a state of few numbers has no mean
     * to speak of. Where all terms have one sign and nearly one size, roundings lean one way for long stretches and
     * errors grow with the depth of the chains, dk or dv and 64, not with its root: about half of this.
     */
    @Override
    public Tolerance tolerance(LightningCase shape) {
        boolean leaning = shape.values() == Values.CONSTANT || shape.values() == Values.OFFSET;
        double c = leaning ? 8 + (shape.dk() + shape.dv() + 64) / 4.0 : 8;
        return new Tolerance(c, shape.dk() * shape.dv() < 64 ? c : c / 2);
    }

    /** Chunk by chunk in many tasks. */
    @Property(tries = 3)
    void longSequencesAreTheReference(@ForAll long seed) {
        LightningCase shape = new LightningCase(seed, 1, 35, 33, List.of(LONG, 1, 64), Values.NORMAL, 1, true, true);
        assertSame(SUBJECT, new LightningRecurrent(), shape);
    }

    /** Chunk by chunk in many tasks, or chunk after chunk in one: the same arithmetic. */
    @Property(tries = 3)
    void aLongSequenceIsTheSameAmongMany(@ForAll long seed) {
        LightningCase shape = new LightningCase(seed, 1, 5, 17, List.of(LONG, 1), Values.NORMAL, 1, false, true);
        LightningCase many = shape.withLengths(Collections.nCopies(20, LONG));
        try (LightningCall alone = LightningCall.of(shape, DType.F32); LightningCall call = LightningCall.of(many,
                DType.F32)) {
            copyTokens(alone, call, 0, 19L * LONG);
            for (LightningCall c : List.of(alone, call)) {
                c.initial = null;
                c.dlast = null;
                c.last = null;
                c.dinitial = null;
                c.rates.fill(0.01);
                c.run(SUBJECT);
            }
            for (int i = 0; i < 4; i++) {
                assertSameBits(call.outputs().get(i).slice(0, 19L * LONG, 20L * LONG),
                        alone.outputs().get(i).slice(0, 0, LONG));
            }
        }
    }

    /** A batch that decodes, in several tasks. */
    @Property(tries = 5)
    void manySequencesOfOneTokenAreTheReference(@ForAll long seed) {
        LightningCase shape = new LightningCase(seed, 3, 33, 85, Collections.nCopies(60, 1), Values.NORMAL, 1, true,
                true);
        assertSame(SUBJECT, new LightningRecurrent(), shape);
    }

    /**
     * Token by token. Each of the 30 steps rounds the state once more, by up to u, and all to the same side where the
     * decay of a step is less than that.
     */
    @Property(tries = 10)
    void decodingIsTheReference(@ForAll("calls") LightningCase any) {
        LightningCase shape = any.with(any.masked(), true).withLengths(List.of(30));
        try (LightningCall call = LightningCall.of(shape, DType.F32); LightningCall want = call.as(DType.F64)) {
            call.sequences.clear();
            call.sequences.add(30, 0, 2);
            call.fillNamed(call.initial);
            want.sequences = call.sequences;
            want.initial.copyFrom(call.initial);
            want.forward(reference());
            call.last.select(0, 2).copyFrom(call.initial.select(0, 2));
            for (int t = 0; t < 30; t++) {
                LightningCall token = call.part(t, t + 1, 2);
                token.initial = call.last;
                token.forward(SUBJECT);
            }
            Tolerance once = tolerance(shape);
            assertForward(new Tolerance(once.c() + 30, once.rms() + 30), call, want);
        }
    }

    /** Of a constant input the state tends to 1 / (1 - λ): λ rounded to F32 would put it 3e-5 off, roundings less than 1e-6. */
    @Example
    void decayOfAStepIsNotRoundedToF32() {
        int steps = 6000;
        float rate = 0.00101f;
        try (LightningCall call = LightningCall.of(LightningCase.of(1, 1, 1, 1, steps), DType.F32)) {
            for (Tensor x : List.of(call.q, call.k, call.v)) {
                x.fill(1);
            }
            call.rates.fill(rate);
            call.last.fill(0);
            for (int t = 0; t < steps; t++) {
                LightningCall token = call.part(t, t + 1, 0);
                token.initial = call.last;
                token.forward(SUBJECT);
            }
            double want = -Math.expm1(-rate * (double) steps) / -Math.expm1(-rate);
            assertThat(call.o.get(steps - 1, 0, 0)).isCloseTo(want, withinPercentage(3e-4));
        }
    }

    @Property(tries = 2)
    void threadsDoNotShow(@ForAll long seed) {
        for (Integer[] lengths : new Integer[][] {{LONG, 70}, {1, 1, 200, 1}, {1, 1, 1}}) {
            LightningCase shape = LightningCase.of(seed, 3, 33, 20, lengths);
            try (LightningCall call = LightningCall.of(shape, DType.F32); LightningCall other = call.as(DType.F32)) {
                call.run(SUBJECT);
                for (int threads : new int[] {1, 3}) {
                    try (Workers workers = new Workers(threads); HostMemory memory = new HostMemory()) {
                        other.poison().run(new LightningVector(workers, new Workspace(memory)));
                        assertSameBits(other.outputs(), call.outputs());
                    }
                }
            }
        }
    }

    @Example
    void vectorWidthAndCompilationDoNotShow() {
        SameBits.assertEverywhere(Bits.class, Bits.compute());
    }

    /** Prints checksums of outputs of a few calls. */
    static final class Bits {
        public static void main(String[] args) {
            System.out.print(compute());
        }

        static String compute() {
            StringBuilder out = new StringBuilder();
            try (Workers workers = new Workers(1); HostMemory memory = new HostMemory()) {
                LightningVector attention = new LightningVector(workers, new Workspace(memory));
                for (LightningCase shape : List.of(LightningCase.of(1, 1, 5, 19, 66, 1),
                        LightningCase.of(2, 1, 33, 72, 1, 3).with(true, false))) {
                    try (LightningCall call = LightningCall.of(shape, DType.F32)) {
                        call.run(attention).outputs().forEach(x -> out.append(SameBits.checksum(x)));
                    }
                }
            }
            return out.toString();
        }
    }

    @Property(tries = 20)
    void scratchIsWhatWasReserved(@ForAll("calls") LightningCase any) {
        try (HostMemory memory = new HostMemory()) {
            Workspace workspace = new Workspace(memory);
            LightningVector attention = new LightningVector(WORKERS, workspace);
            attention.reserve(LONG, 3, any.heads(), any.dk(), any.dv());
            workspace.commit();
            long planned = memory.plan().bytes(MemoryKind.WORKSPACE);
            for (LightningCase shape : List.of(any, any.withLengths(List.of(LONG)), any.withLengths(List.of(1)))) {
                try (LightningCall call = LightningCall.of(shape, DType.F32)) {
                    call.run(attention);
                }
            }
            assertThat(memory.plan().bytes(MemoryKind.WORKSPACE)).isEqualTo(planned);
        }
    }

    @Example
    void takesF32Only() {
        try (LightningCall call = LightningCall.of(LightningCase.of(1, 2, 3, 4, 5, 6), DType.BF16)) {
            assertThatThrownBy(() -> call.forward(SUBJECT)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("q BF16");
        }
    }

    private static void copyTokens(LightningCall from, LightningCall to, long start, long at) {
        for (int i = 0; i < 4; i++) {
            Tensor x = List.of(from.q, from.k, from.v, from.dout).get(i);
            Tensor y = List.of(to.q, to.k, to.v, to.dout).get(i);
            y.slice(0, at, at + LONG).copyFrom(x.slice(0, start, start + LONG));
        }
    }
}
