package org.transnormer.lrpe;

import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;

/** The twin on a GPU, in F32. */
@Tag("gpu")
class LrpeCudaTest implements LrpeCudaContract {
    private static final Lrpe SUBJECT = OnDevice.wrap(Lrpe.class, LrpeCuda::new);

    @Override
    public Lrpe subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    @Override
    public DType thetaType() {
        return DType.F32;
    }
}
