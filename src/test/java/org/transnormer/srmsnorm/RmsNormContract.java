package org.transnormer.srmsnorm;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.srmsnorm.NormCase.Inputs;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.verify.Tolerance;

/** What every twin of {@link RmsNorm} does. SPEC section 3.1. */
interface RmsNormContract extends NormContract {

    @Override
    default Norm spec() {
        return new RmsNormScalar();
    }

    @Override
    default NormType type() {
        return NormType.RMSNORM;
    }

    /** As SRMSNorm, and the weight's product. */
    @Override
    default Tolerance forwardTolerance(long d) {
        return new Tolerance(d / 64.0 + 7, d / 128.0 + 3.5);
    }

    /** As SRMSNorm, and the weight's products. */
    @Override
    default Tolerance inputTolerance(long d) {
        return new Tolerance(5 * d / 64.0 + 22, 5 * d / 128.0 + 11);
    }

    /** x̂ and u dy, then 64 additions in a row within a partial sum and tokens / 64 to join them. */
    @Override
    default Tolerance parameterTolerance(long d, long tokens) {
        double c = d / 64.0 + 7 + Math.min(tokens, 64) + tokens / 64.0;
        return new Tolerance(c, c / 2);
    }

    /** x̂ is SRMSNorm's but for ε: a weight of √(ms + 1e-6) / √(ms + 1e-5) apart, one row at a time. */
    @Property(tries = 20)
    default void aUnitWeightLeavesTheNormAlone(@ForAll("cases") NormCase c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor x = tensors.random("x", dtype(), c.values(), c.tokens(), c.width());
            Tensor ones = tensors.zeros("weight", parameterType(), c.width());
            ones.fill(1);
            Tensor y = tensors.poisoned("y", dtype(), c.tokens(), c.width());
            NormContract.forward(tensors, subject(), statisticsType(),
                    new Inputs(x, new NormParameters(ones, null), null, x, null), y);
            Tensor exact = tensors.copy(x, DType.F64);
            Tensor want = tensors.poisoned("y", DType.F64, c.tokens(), c.width());
            NormContract.forward(tensors, new SrmsNormScalar(), DType.F64,
                    new Inputs(exact, NormParameters.NONE, null, exact, null), want);
            for (long t = 0; t < c.tokens(); t++) {
                double mean = 0;
                for (long j = 0; j < c.width(); j++) {
                    mean += exact.get(t, j) * exact.get(t, j) / c.width();
                }
                for (long j = 0; j < c.width(); j++) {
                    want.set(t, j, want.get(t, j)
                            * Math.sqrt((mean + SrmsNorm.EPSILON) / (mean + RmsNorm.EPSILON)));
                }
            }
            forwardTolerance(c.width()).stored(dtype()).compare("y", y, want, null, dtype().unitRoundoff()).orThrow();
        }
    }
}
