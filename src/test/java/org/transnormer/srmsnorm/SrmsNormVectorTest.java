package org.transnormer.srmsnorm;

import net.jqwik.api.lifecycle.AfterContainer;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;

class SrmsNormVectorTest implements SrmsNormContract, NormVectorContract {
    private static final Workers WORKERS = new Workers(2);

    @AfterContainer
    static void stop() {
        WORKERS.close();
    }

    @Override
    public Norm subject() {
        return subject(WORKERS);
    }

    @Override
    public Norm subject(Workers workers) {
        return new SrmsNormVector(workers);
    }

    @Override
    public DType statisticsType() {
        return DType.F32;
    }
}
