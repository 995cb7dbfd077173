package org.transnormer.srmsnorm;

import net.jqwik.api.lifecycle.AfterContainer;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Workspace;

class RmsNormVectorTest implements RmsNormContract, NormVectorContract {
    private static final Workers WORKERS = new Workers(2);
    private static final HostMemory MEMORY = new HostMemory();

    @AfterContainer
    static void stop() {
        WORKERS.close();
        MEMORY.close();
    }

    @Override
    public Norm subject() {
        return subject(WORKERS);
    }

    @Override
    public Norm subject(Workers workers) {
        return new RmsNormVector(workers, new Workspace(MEMORY));
    }

    @Override
    public DType statisticsType() {
        return DType.F32;
    }
}
