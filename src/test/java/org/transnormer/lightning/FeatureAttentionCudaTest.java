package org.transnormer.lightning;

import net.jqwik.api.Group;
import net.jqwik.api.Tag;
import org.transnormer.activation.ActivationCuda;
import org.transnormer.cuda.ExactMemory;
import org.transnormer.cuda.Gpu;
import org.transnormer.lrpe.LrpeCuda;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.OnDevice;
import org.transnormer.verify.Tolerance;

@Tag("gpu")
class FeatureAttentionCudaTest {
    /** One of each type: a composition keeps the type that it was first called with. */
    private static final FeatureAttention F32 =
            OnDevice.wrap(FeatureAttention.class, FeatureAttentionCudaTest::subject);
    private static final FeatureAttention BF16 =
            OnDevice.wrap(FeatureAttention.class, FeatureAttentionCudaTest::subject);

    private static FeatureAttention subject(Gpu gpu, Workspace workspace) {
        return new FeatureAttentionCuda(gpu, new LightningCuda(gpu, workspace), new ActivationCuda(gpu),
                new LrpeCuda(gpu, workspace), new ExactMemory(gpu.stream()));
    }

    @Group
    class InF32 implements FeatureAttentionContract {
        @Override
        public FeatureAttention subject() {
            return F32;
        }

        @Override
        public DType dtype() {
            return DType.F32;
        }

        /** As of vector parts. */
        @Override
        public Tolerance tolerance(FeatureCall.Case shape) {
            return new Tolerance(32, 16);
        }
    }

    @Group
    class InBf16 implements FeatureAttentionContract {
        @Override
        public FeatureAttention subject() {
            return BF16;
        }

        @Override
        public DType dtype() {
            return DType.BF16;
        }

        /**
         * φ of q and of k, weighted keys, the state or the scores, the output: one rounding each. Composed, where there
         * is LRPE, its roundings of q and k besides, and on the way back its own and that of φ.
         */
        @Override
        public Tolerance tolerance(FeatureCall.Case shape) {
            return shape.lrpe() ? new Tolerance(9.5, 4.75) : new Tolerance(6.5, 3.25);
        }
    }
}
