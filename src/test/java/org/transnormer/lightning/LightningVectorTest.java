package org.transnormer.lightning;

import net.jqwik.api.lifecycle.AfterContainer;
import org.transnormer.simd.Workers;
import org.transnormer.simd.Workspace;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.testing.Values;
import org.transnormer.verify.Tolerance;

class LightningVectorTest implements LightningContract {
    private static final HostMemory MEMORY = new HostMemory();
    private static final Workers WORKERS = new Workers(2);
    private static final LightningVector SUBJECT = new LightningVector(WORKERS, new Workspace(MEMORY));

    @AfterContainer
    static void close() {
        WORKERS.close();
        MEMORY.close();
    }

    @Override
    public LightningAttention subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    /**
     * Measured up to T 2000 and 256 x 128: at most 6 and 0.9 where signs are mixed. Where all terms have one sign and
     * nearly one size, roundings lean one way for long stretches and errors grow with the depth of the chains, dk or dv
     * and 64, not with its root: at most half of this.
     */
    @Override
    public Tolerance tolerance(LightningCase shape) {
        if (shape.values() == Values.CONSTANT || shape.values() == Values.OFFSET) {
            double c = 8 + (shape.dk() + shape.dv() + 64) / 4.0;
            return new Tolerance(c, c / 2);
        }
        return new Tolerance(8, 2);
    }
}
