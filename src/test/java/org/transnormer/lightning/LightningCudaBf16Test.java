package org.transnormer.lightning;

import net.jqwik.api.Arbitrary;
import net.jqwik.api.Provide;
import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

/** BF16 rows that do not lie in pieces of 16 bytes: the plain kernels. */
@Tag("gpu")
class LightningCudaBf16Test implements LightningContract {
    private static final LightningAttention SUBJECT = OnDevice.wrap(LightningAttention.class, LightningCuda::new);

    @Override
    public LightningAttention subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }

    /** One rounding of the output, equal outputs alike; errors of F32 are next to nothing beside it. */
    @Override
    public Tolerance tolerance(LightningCase shape) {
        boolean fewNumbers = shape.values() == Values.CONSTANT || shape.values() == Values.SPARSE;
        return new Tolerance(1.25, fewNumbers ? 1.25 : 0.75);
    }

    @Override
    @Provide
    public Arbitrary<LightningCase> calls() {
        return LightningCase.any().map(c -> c.dk() % 8 > 0 || c.dv() % 8 > 0 ? c
                : new LightningCase(c.seed(), c.heads(), c.dk(), c.dv(), c.lengths(), c.values(), Math.max(1, c.gap()),
                        c.masked(), c.stateful()));
    }
}
