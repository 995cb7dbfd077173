package org.transnormer.srmsnorm;

import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;

/** The twin on a GPU, in BF16. */
@Tag("gpu")
class SrmsNormCudaBf16Test implements SrmsNormContract, NormCudaContract {
    private static final SrmsNorm SUBJECT = OnDevice.wrap(SrmsNorm.class, SrmsNormCuda::new);

    @Override
    public Norm subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }

    @Override
    public DType statisticsType() {
        return DType.F32;
    }
}
