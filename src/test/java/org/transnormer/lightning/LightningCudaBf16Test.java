package org.transnormer.lightning;

import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

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
        return new Tolerance(1.25, shape.values() == Values.CONSTANT ? 1.25 : 0.75);
    }
}
