package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Group;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.Tag;
import net.jqwik.api.Tuple;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** Calls that {@link LightningHopper} covers, through the twins that use it; on other devices they go their usual way. */
@Tag("gpu")
class LightningHopperTest {
    private static final int CHANNELS = 128;

    /** φ(q), φ(k), weighted scores or the weighted keys and the state, the result: one rounding each to BF16. */
    private static final double ROUNDINGS = 4.25;

    private static final FeatureAttention FEATURES = OnDevice.wrap(FeatureAttention.class, Features::new);
    private static final LightningAttention PLAIN = OnDevice.wrap(LightningAttention.class, LightningCuda::new);

    /** The twin, which says if it would take the portable way. */
    private static final class Features implements FeatureAttention {
        private final LightningCuda lightning;
        private final LightningHopper hopper;

        Features(Gpu gpu, Workspace workspace) {
            lightning = new LightningCuda(gpu, workspace);
            hopper = LightningHopper.available(gpu) ? new LightningHopper(gpu, workspace) : null;
        }

        @Override
        public void forward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
                Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last) {
            assertThat(hopper == null || hopper.covers(q, k, v, f, sequences, o)).isTrue();
            lightning.forward(q, k, v, f, rates, sequences, mask, initial, o, last);
        }

        @Override
        public void backward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
                Sequences sequences, Tensor mask, Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk,
                Tensor dv, Tensor dtheta, Tensor dinitial) {
            assertThat(hopper == null || hopper.coversBackward(q, k, v, f, sequences, dout, dq, dk, dv)).isTrue();
            lightning.backward(q, k, v, f, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
        }

        @Override
        public void reserve(DType dtype, long tokens, int sequences, int heads, int d, int dv, boolean withLrpe,
                boolean training) {
            lightning.reserve(tokens, sequences, heads, d, dv);
        }
    }

    /** Most are short, some end near a chunk of 64. */
    private static Arbitrary<List<Integer>> lengths() {
        return Arbitraries.frequencyOf(Tuple.of(3, Arbitraries.integers().between(1, 6)),
                Tuple.of(1, Arbitraries.of(63, 64, 65, 130))).list().ofMinSize(1).ofMaxSize(2);
    }

    @Group
    class WithFeatures implements FeatureAttentionContract {
        @Override
        public FeatureAttention subject() {
            return FEATURES;
        }

        @Override
        public DType dtype() {
            return DType.BF16;
        }

        @Override
        public Tolerance tolerance(FeatureCall.Case shape) {
            return new Tolerance(ROUNDINGS, 1);
        }

        @Override
        @Provide
        public Arbitrary<FeatureCall.Case> calls() {
            return Combinators.combine(Arbitraries.longs(), Arbitraries.integers().between(1, 2), lengths(),
                    Arbitraries.of(ActivationFunction.SILU, ActivationFunction.IDENTITY),
                    Arbitraries.integers().between(0, 3)).as(
                            (seed, heads, lengths, f, flags) -> new FeatureCall.Case(
                                    seed, heads, CHANNELS, CHANNELS, lengths, 0, f, false, (flags & 1) != 0,
                                    (flags & 2) != 0));
        }

        /** Segments of 512 tokens, the last of one token; beside them a sequence that is not cut. */
        @Example
        void longSequencesAreCut() {
            for (List<Integer> lengths : List.of(List.of(1537), List.of(3, 1100, 512))) {
                isTheCompositionOfItsParts(new FeatureCall.Case(7, 2, CHANNELS, CHANNELS, lengths, 0,
                        ActivationFunction.SILU, false, true, true));
            }
        }

        /** Whole tiles come by tensor map, others by threads: one after the other in a place of each kernel's ring. */
        @Example
        void threadsAndTensorMapsTakeTurns() {
            for (int length : List.of(130, 258, 898)) {
                isTheCompositionOfItsParts(new FeatureCall.Case(length, 2, CHANNELS, CHANNELS, List.of(length), 0,
                        ActivationFunction.SILU, false, false, true));
            }
        }
    }

    @Group
    class Plain implements LightningContract {
        @Override
        public LightningAttention subject() {
            return PLAIN;
        }

        @Override
        public LightningAttention reference() {
            return new LightningRecurrent();
        }

        @Override
        public DType dtype() {
            return DType.BF16;
        }

        /** Equal values err alike. */
        @Override
        public Tolerance tolerance(LightningCase shape) {
            return new Tolerance(ROUNDINGS, switch (shape.values()) {
                case CONSTANT, OFFSET -> ROUNDINGS;
                default -> 1;
            });
        }

        @Override
        @Provide
        public Arbitrary<LightningCase> calls() {
            return Combinators.combine(Arbitraries.longs(), lengths(), Arbitraries.of(Values.class),
                    Arbitraries.integers().between(0, 3))
                    .as((seed, lengths, values, flags) -> new LightningCase(seed, 1,
                            CHANNELS, CHANNELS, lengths, values, 0, (flags & 1) != 0, (flags & 2) != 0));
        }

        /** Of numbers; a NaN reaches its whole chunk. */
        @Override
        @Property(tries = 30)
        public void isCausal(@ForAll("calls") LightningCase shape, @ForAll int anywhere) {
            LightningContract.super.isCausal(shape, anywhere & ~1);
        }
    }
}
