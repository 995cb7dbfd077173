package org.transnormer.srmsnorm;

import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;

/** The twin on a GPU, in F32. */
@Tag("gpu")
class LayerNormCudaTest implements LayerNormContract, NormCudaContract {
    private static final LayerNorm SUBJECT = OnDevice.wrap(LayerNorm.class, LayerNormCuda::new);

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
        return DType.F64;
    }
}
