package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.tensor.HostMemory;
import org.transnormer.testing.SameBits;

/**
 * Ranks that hold consecutive parts of the same rows compute what one rank computes that holds them whole: losses, every
 * gradient, the gradient norm, and what training makes of the weights, wherever documents begin and end. Ranks are
 * threads. SPEC section 7.5.
 */
class SequenceParallelTest {

    @Provide
    Arbitrary<ParallelCase> cases() {
        return Combinators.combine(Arbitraries.of(new Layout(1, 2, 1), new Layout(1, 3, 1), new Layout(1, 4, 1),
                new Layout(1, 8, 1), new Layout(2, 2, 1), new Layout(2, 3, 1), new Layout(1, 2, 2), new Layout(1, 3, 2),
                new Layout(2, 2, 2)), Arbitraries.of(Mode.class), Arbitraries.longs()).as(ParallelCase::new);
    }

    @Property(tries = 80)
    void lossAndEveryGradientAreThoseOfOneRank(@ForAll("cases") ParallelCase c) {
        c.compare(c.run(), 1, ParallelCase.GRADIENTS, ParallelCase.TRAINED);
    }

    /** The released form, several rows on a rank. */
    @Example
    void twentyStepsAreThoseOfOneRank() {
        Recompute[] recompute = Recompute.values();
        int i = 0;
        for (Layout layout : List.of(new Layout(1, 2, 1), new Layout(1, 3, 1), new Layout(1, 4, 1), new Layout(2, 2, 1),
                new Layout(1, 2, 2))) {
            for (Mode mode : Mode.values()) {
                new ParallelCase(layout, mode, i).compare(run(DataParallelTest.released(), layout, 1 + i % 2,
                        recompute[i++ % 4]), 20, ParallelCase.GRADIENTS, ParallelCase.TRAINED);
            }
        }
    }

    @Example
    void twentyStepsWithEveryParameterAreThoseOfOneRank() {
        Layout layout = new Layout(1, 3, 2);
        new ParallelCase(layout, Mode.FULLY_SHARDED, 1).compare(run(TensorParallelTest.everyParameter(), layout, 2,
                Recompute.FULL), 20, ParallelCase.GRADIENTS, ParallelCase.TRAINED);
    }

    private static ParallelRun run(ModelConfig config, Layout layout, int microBatches, Recompute recompute) {
        return new ParallelRun(config, BackendKind.SCALAR, Precision.F64, 3 * layout.sequence(), 2 * layout.data(),
                microBatches, recompute, true, microBatches);
    }

    @Example
    void everyRunGivesTheSameBits() {
        Layout layout = new Layout(1, 3, 1);
        for (Mode mode : Mode.values()) {
            ParallelRun run = run(DataParallelTest.released(), layout, 2, Recompute.GLU);
            assertThat(bits(run, layout, mode)).as("%s", mode).isEqualTo(bits(run, layout, mode));
        }
    }

    private static List<String> bits(ParallelRun run, Layout layout, Mode mode) {
        try (HostMemory memory = new HostMemory()) {
            ParallelRun.Result result = run.on(layout, mode, 3, memory);
            List<String> bits = new ArrayList<>();
            result.gradients().values().forEach(t -> bits.add(SameBits.checksum(t)));
            result.weights().values().forEach(t -> bits.add(SameBits.checksum(t)));
            for (int step = 0; step < 3; step++) {
                bits.add(result.losses()[step] + " " + result.norms()[step]);
            }
            return bits;
        }
    }

    /** As in TensorParallelTest; rows are longer than a chunk. */
    @Example
    void theVectorBackendAgreesToItsPrecision() {
        for (int size : new int[] {2, 3}) {
            Layout layout = new Layout(1, size, 1);
            new ParallelCase(layout, Mode.FULLY_SHARDED, 1).compare(new ParallelRun(TensorParallelTest.released(1),
                    BackendKind.VECTOR, Precision.F32, 100 * size, 2, 2, Recompute.NONE, false, 1), 1, 2e-5, 2e-5);
        }
    }
}
