package org.transnormer.train;

import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ModelConfig.Gate;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.srmsnorm.NormType;

/**
 * Tensor parallelism computes what one rank computes: losses, every gradient, the gradient norm, and what training makes
 * of the weights. Ranks are threads. SPEC section 7.2.
 */
class TensorParallelTest {

    private static ParallelCase of(int size, long seed) {
        return new ParallelCase(new Layout(1, size), Mode.REPLICATED, seed);
    }

    @Provide
    Arbitrary<ParallelCase> cases() {
        return Combinators.combine(Arbitraries.of(2, 3, 4), Arbitraries.longs()).as(TensorParallelTest::of);
    }

    @Property(tries = 25)
    void lossAndEveryGradientAreThoseOfOneRank(@ForAll("cases") ParallelCase c) {
        c.compare(c.run(), 1, ParallelCase.GRADIENTS, ParallelCase.TRAINED);
    }

    /** The released form. */
    @Example
    void twentyStepsAreThoseOfOneRank() {
        for (int size : new int[] {2, 3, 4}) {
            of(size, size).compare(new ParallelRun(released(size), BackendKind.SCALAR, Precision.F64, 16, 1, 2,
                    Recompute.NONE, false, size), 20, ParallelCase.GRADIENTS, ParallelCase.TRAINED);
        }
    }

    @Example
    void twentyStepsWithEveryParameterAreThoseOfOneRank() {
        for (int size : new int[] {2, 3}) {
            of(size, size).compare(new ParallelRun(everyParameter(), BackendKind.SCALAR, Precision.F64, 12, 1, 2,
                    Recompute.FULL, true, size), 20, ParallelCase.GRADIENTS, ParallelCase.TRAINED);
        }
    }

    /** F32: 1e-12 u_F32/u_F64 = 5e-4 of the largest entry would be allowed by the same reasoning; sums are short. */
    @Example
    void theVectorBackendAgreesToItsPrecision() {
        for (int size : new int[] {2, 4}) {
            of(size, size).compare(new ParallelRun(released(size), BackendKind.VECTOR, Precision.F32, 24, 1, 2,
                    Recompute.NONE, false, size), 1, 2e-5, 2e-5);
        }
    }

    /** Every kind of parameter there is: LayerNorms, biases, a head of its own. */
    static ModelConfig everyParameter() {
        return new ModelConfig(37, 12, 2, 6, 12, 6, NormType.LAYERNORM, ActivationFunction.ONE_PLUS_ELU,
                ActivationFunction.SILU, Position.LRPE_DECAY, 0, List.of(true, false), DecaySchedule.PAPER,
                DecayTemperature.BY_LAYER, Gate.LINEAR, false, true, false, 0.2, 20, 1, 2);
    }

    /** LRPE in the first layer, no parameters in norms, gate, tied head. */
    static ModelConfig released(int size) {
        int heads = size == 3 ? 3 : 4;
        return new ModelConfig(45, 4 * heads, 2, heads, 4 * heads, 24, NormType.SRMSNORM, ActivationFunction.SILU,
                ActivationFunction.IDENTITY, Position.LRPE_DECAY, 0, List.of(true, false), DecaySchedule.RELEASED,
                DecayTemperature.BY_LAYER, Gate.LINEAR, true, false, true, 0.1, 0, 1, 2);
    }
}
