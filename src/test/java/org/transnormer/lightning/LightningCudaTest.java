package org.transnormer.lightning;

import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

@Tag("gpu")
class LightningCudaTest implements LightningContract {
    private static final LightningAttention SUBJECT = OnDevice.wrap(LightningAttention.class, LightningCuda::new);

    @Override
    public LightningAttention subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    /** The sums of the vector twin in the same order of size: its bounds. */
    @Override
    public Tolerance tolerance(LightningCase shape) {
        boolean leaning = shape.values() == Values.CONSTANT || shape.values() == Values.OFFSET;
        double c = leaning ? 8 + (shape.dk() + shape.dv() + 64) / 4.0 : 8;
        return new Tolerance(c, shape.dk() * shape.dv() < 64 ? c : c / 2);
    }
}
