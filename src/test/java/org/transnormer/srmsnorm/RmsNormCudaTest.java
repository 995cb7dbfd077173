package org.transnormer.srmsnorm;

import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;

/** The twin on a GPU, in F32. */
@Tag("gpu")
class RmsNormCudaTest implements RmsNormContract, NormCudaContract {
    private static final RmsNorm SUBJECT = OnDevice.wrap(RmsNorm.class, RmsNormCuda::new);

    @Override
    public Norm subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    @Override
    public DType statisticsType() {
        return DType.F32;
    }
}
